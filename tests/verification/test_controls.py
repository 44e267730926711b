"""Controls: the worlds in which nothing is to be found, and the rule that compares sizes. The pruner is a stand-in."""

import numpy as np
import pytest
import torch
from judged import budget_of, material_of, subject_of
from micro_model import bracket_counter

from thinwire.circuits.prompts import Prompts, logit_difference, task_accuracy
from thinwire.verification.controls import controls, permuted, random_like, redrawn, shuffled_like, unrelated
from thinwire.verification.pruner import Pruned


def test_permuted_pairs_are_half_swapped_by_a_fixed_rule() -> None:
    pairs = bracket_counter().pairs
    nonsense = permuted(pairs, seed=1)
    for split, tokens in pairs.items():
        new = nonsense[split]
        swapped = (new.clean == tokens.corrupt).all(1) & (new.corrupt == tokens.clean).all(1)
        same = (new.clean == tokens.clean).all(1) & (new.corrupt == tokens.corrupt).all(1)
        assert swapped.sum() == len(tokens) // 2 and (swapped ^ same).all()
    assert all(np.array_equal(nonsense[s].clean, permuted(pairs, seed=1)[s].clean) for s in pairs)
    prompts = Prompts.of(nonsense["test"])
    assert task_accuracy(logit_difference(bracket_counter().model, prompts), prompts.sign) == 0.5


def test_unrelated_answers_occur_in_no_prompt() -> None:
    hand = bracket_counter()
    tokens = unrelated(hand.pairs, hand.model.config.vocab_size, seed=0)["test"]
    assert tokens.answer != tokens.other
    assert not {tokens.answer, tokens.other} & {hand.pairs["test"].answer, hand.pairs["test"].other}


def test_random_weights_keep_count_and_spread_shuffled_ones_keep_all_values() -> None:
    value = torch.zeros(40, 40)
    value[:10] = 3.0
    generator = torch.Generator().manual_seed(0)
    drawn, shuffled = random_like(value, generator), shuffled_like(value, generator)
    assert int(drawn.count_nonzero()) == 400
    assert float(drawn[drawn != 0].std()) == pytest.approx(3.0, rel=0.2)
    assert torch.equal(shuffled.flatten().sort().values, value.flatten().sort().values)
    assert not torch.equal(shuffled, value)


def test_a_redrawn_model_has_the_shape_and_not_the_skill() -> None:
    hand = bracket_counter()
    model = redrawn(hand.model, 0, shuffled_like)
    assert torch.equal(model.norm.gain, hand.model.norm.gain)
    assert int(model.embed.weight.count_nonzero()) == int(hand.model.embed.weight.count_nonzero())
    assert task_accuracy(logit_difference(model, hand.prompts), hand.prompts.sign) < 0.9


@pytest.mark.parametrize(("solved", "n_nodes", "passed"), [(True, 15, False), (True, 16, True), (False, 3, True)])
def test_a_control_of_about_the_same_size_takes_the_proof_away(solved: bool, n_nodes: int, passed: bool) -> None:
    """The bracket circuit has 8 nodes: a solved control needs at least 16 to leave its size remarkable."""
    hand = bracket_counter()
    seen = []

    def pruner(model, pairs, seed, forbidden) -> Pruned:
        seen.append((model is hand.model, pairs["test"].answer, seed, forbidden))
        return Pruned({"embed": list(range(n_nodes))}, solved, 0.1, 7)

    found = controls(
        subject_of(hand), material_of(hand, pairs=hand.pairs, pruner=pruner), budget_of(controls=True), seed=5
    )
    assert found.passed is passed
    assert list(found.controls) == ["permuted", "unrelated", "random", "shuffled"]
    assert found.controls["permuted"].model_accuracy == 0.5  # never supported, let alone faithful
    assert [row[0] for row in seen] == [True, True, False, False]
    assert {row[2] for row in seen} == {5} and all(row[3] == {} for row in seen)
