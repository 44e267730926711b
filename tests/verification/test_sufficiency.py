"""Sufficiency: the circuit alone, in four worlds; the null, the degenerate and the edge-starved are told apart."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from judged import budget_of, material_of, subject_of
from micro_model import ASK, HandModel, bracket_counter, copy_model

from thinwire.verification.sufficiency import Sufficiency, same_length_donors, sufficiency

HAND = [pytest.param(copy_model, id="copy"), pytest.param(bracket_counter, id="bracket")]


def judge(hand: HandModel, **claimed: Any) -> Sufficiency:
    return sufficiency(subject_of(hand, **claimed), material_of(hand), budget_of(pairs=32))


@pytest.mark.parametrize("build", HAND)
def test_the_true_circuit_suffices_under_resampling_and_frozen_norms(build) -> None:
    hand = build()
    found = judge(hand)
    assert found.passed
    assert found.loss == pytest.approx(hand.circuit.scores["test"].loss, abs=1e-6)
    assert found.model_loss == pytest.approx(hand.circuit.model_scores["test"].loss, abs=1e-6)
    for world in (found.resampled, found.frozen_norms):
        assert world.loss < 0.15 and world.accuracy == 1.0
    assert found.kl < 0.5 * found.kl_nothing_kept
    assert found.all_edges is None


def test_zero_ablation_takes_constants_away_too() -> None:
    """The bracket counter weighs depth against a constant channel, which means preserve and zeros do not."""
    found = judge(bracket_counter())
    assert found.accuracy == 1.0 and found.zero.accuracy == 0.5
    assert judge(copy_model()).zero.accuracy == 1.0


def test_nothing_kept_is_no_circuit() -> None:
    hand = bracket_counter()
    found = judge(hand, nodes={}, edges=[])
    assert found.passed is False
    assert found.accuracy == 0.5
    assert found.kl == pytest.approx(found.kl_nothing_kept, abs=1e-6)


def test_a_circuit_that_does_not_state_an_edge_that_it_needs_fails() -> None:
    """All nodes kept, but the edge from the first head's value to what it copies is not stated."""
    hand = copy_model()
    missing = [edge for edge in hand.circuit.edges if edge.target_site != "0.attn.out"]
    assert len(missing) == len(hand.circuit.edges) - 1
    found = judge(hand, edges=missing)
    assert found.all_edges is not None
    assert found.all_edges.loss < 0.15 < found.loss  # nodes alone would have passed
    assert found.passed is False


def test_a_difference_far_beyond_the_models_is_degenerate() -> None:
    """A loud channel on the question keeps the whole model's difference small; ablated, it lets the circuit shout."""
    hand = copy_model()
    model = deepcopy(hand.model)
    model.embed.weight[ASK, 20] = 10.0
    found = judge(replace(hand, model=model))
    assert found.loss < 0.15 and found.accuracy == 1.0
    assert found.recovered > 2.0
    assert found.passed is False


def test_donors_have_the_same_length_and_are_other_prompts() -> None:
    lengths = torch.tensor([5, 7, 5, 5, 7, 9])
    donors = same_length_donors(lengths, seed=3)
    assert torch.equal(lengths[donors], lengths)
    assert sorted(donors.tolist()) == [0, 1, 2, 3, 4, 5]
    assert all(donors[i] != i for i in range(5)) and donors[5] == 5  # the only one of its length has no other
