"""Stochastic ablation: flat for the true circuit, not for one that lives on the others' silence."""

import pytest
import torch
from judged import budget_of, material_of, subject_of
from micro_model import HandModel, bracket_counter, copy_model

from thinwire.circuits.ablation import ablate
from thinwire.circuits.prompts import Prompts, logit_difference, task_loss
from thinwire.verification.stochastic import FRACTIONS, Stochastic, adversary, stochastic
from thinwire.verification.subject import Subject


def run(hand: HandModel, subject: Subject, seed: int = 0, n_steps: int = 20) -> Stochastic:
    budget = budget_of(pairs=16, search_pairs=16, draws=3, adversarial_steps=n_steps)
    return stochastic(subject, material_of(hand), budget, seed)


@pytest.fixture(scope="module")
def found():
    hand = copy_model()
    return run(hand, subject_of(hand))


def test_the_true_circuit_stays_flat(found) -> None:
    assert found.passed
    assert [share.fraction for share in found.curve] == list(FRACTIONS)
    assert all(share.lowest <= share.mean <= share.highest for share in found.curve)
    assert found.adversarial_loss is not None and found.adversarial_loss < 0.15  # nothing outside can hurt


def test_the_ends_are_the_circuit_and_the_whole_model(found) -> None:
    hand = copy_model()
    prompts = material_of(hand).test_pairs(16)
    whole = float(task_loss(logit_difference(hand.model, prompts), prompts.sign))
    assert found.curve[-1].mean == pytest.approx(whole, abs=1e-6)
    assert found.curve[0].mean < 0.01


def test_without_a_needed_node_the_curve_is_not_flat() -> None:
    hand = bracket_counter()
    nodes = {site: channels for site, channels in hand.nodes.items() if site != "0.mlp.neuron"}
    result = run(hand, subject_of(hand, nodes=nodes), n_steps=0)
    assert result.passed is False
    assert result.worst > 0.3
    assert result.adversarial_loss is None


def test_the_adversary_finds_the_node_that_hurts() -> None:
    """Two nodes outside: a needed one and a distractor. Gradient ascent has to shut the needed one."""
    hand = copy_model()
    space = hand.model.space
    outside = space.mask({"1.attn.v": [0], "embed": [9]})
    search = Prompts.of(hand.pairs["validation"]).pairs(torch.arange(16))
    everything_else = space.nodes(~outside)
    alone = subject_of(hand, nodes=everything_else).alone(search)
    shut = space.nodes(adversary(alone, outside, 20, torch.Generator().manual_seed(1)))
    assert shut["1.attn.v"] == [0] and shut.get("embed", [9]) == [9]
    broken = ablate(hand.model, {"1.attn.v": [0]}, hand.means)
    assert float(task_loss(logit_difference(hand.model, search, broken), search.sign)) > 0.6


def test_the_seed_decides(found) -> None:
    hand = copy_model()
    assert run(hand, subject_of(hand)) == found
    assert run(hand, subject_of(hand), seed=1, n_steps=0).curve != found.curve
