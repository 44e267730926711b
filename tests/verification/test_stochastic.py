"""Stochastic ablation: flat for the true circuit, not for one that lives on the others' silence."""

from dataclasses import replace

import pytest
import torch
from micro_model import bracket_counter, copy_model

from thinwire.circuits.ablation import ablate
from thinwire.circuits.prompts import Prompts, logit_difference, task_loss
from thinwire.verification.claim import Claim
from thinwire.verification.stochastic import FRACTIONS, adversary, stochastic


def run(hand, claim: Claim, seed: int = 0, n_steps: int = 20):
    search = Prompts.of(hand.pairs["validation"]).pairs(torch.arange(16))
    prompts = hand.prompts.pairs(torch.arange(16))
    return stochastic(hand.model, claim, hand.means, prompts, search, 3, n_steps, seed)


@pytest.fixture(scope="module")
def found():
    hand = copy_model()
    return run(hand, Claim.of(hand.circuit))


def test_the_true_circuit_stays_flat(found) -> None:
    assert found.passed
    assert [share.fraction for share in found.curve] == list(FRACTIONS)
    assert all(share.lowest <= share.mean <= share.highest for share in found.curve)
    assert found.adversarial_loss is not None and found.adversarial_loss < 0.15  # nothing outside can hurt


def test_the_ends_are_the_circuit_and_the_whole_model(found) -> None:
    hand = copy_model()
    prompts = hand.prompts.pairs(torch.arange(16))
    whole = float(task_loss(logit_difference(hand.model, prompts), prompts.sign))
    assert found.curve[-1].mean == pytest.approx(whole, abs=1e-6)
    assert found.curve[0].mean < 0.01


def test_without_a_needed_node_the_curve_is_not_flat() -> None:
    hand = bracket_counter()
    nodes = {site: channels for site, channels in hand.nodes.items() if site != "0.mlp.neuron"}
    result = run(hand, replace(Claim.of(hand.circuit), nodes=nodes), n_steps=0)
    assert result.passed is False
    assert result.worst > 0.3
    assert result.adversarial_loss is None


def test_the_adversary_finds_the_node_that_hurts() -> None:
    """Two nodes outside: a needed one and a distractor. Gradient ascent has to shut the needed one."""
    hand = copy_model()
    outside = {site: torch.zeros_like(mask) for site, mask in hand.model.space.masks({}, hand.model.device).items()}
    outside["1.attn.v"][0] = outside["embed"][9] = True
    search = Prompts.of(hand.pairs["validation"]).pairs(torch.arange(16))
    shut = adversary(hand.model, outside, hand.means, search, 20, torch.Generator().manual_seed(1))
    assert bool(shut["1.attn.v"][0])
    assert sum(int(mask.sum()) for mask in shut.values()) <= 2
    broken = ablate(hand.model, {"1.attn.v": [0]}, hand.means)
    assert float(task_loss(logit_difference(hand.model, search, broken), search.sign)) > 0.6


def test_the_seed_decides(found) -> None:
    hand = copy_model()
    claim = Claim.of(hand.circuit)
    assert run(hand, claim) == found
    assert run(hand, claim, seed=1, n_steps=0).curve != found.curve
