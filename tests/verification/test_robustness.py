"""Robustness: circuit and model have to agree on shifted prompts, also where both are wrong."""

from dataclasses import replace

import pytest
from micro_model import bracket_counter, copy_model

from thinwire.circuits.prompts import Prompts
from thinwire.verification.claim import Claim
from thinwire.verification.robustness import robustness


def test_diluted_context_misleads_the_bracket_circuit_as_it_misleads_the_model() -> None:
    """Depth is read from an average over the context: in 30 tokens two brackets look like fewer than one in 12."""
    hand = bracket_counter()
    shifted = {name: Prompts.of(tokens) for name, tokens in hand.shifted.items()}
    found = robustness(hand.model, Claim.of(hand.circuit), hand.means, shifted)
    (kind,) = found.kinds.values()
    assert kind.model_accuracy == kind.circuit_accuracy == 0.5
    assert kind.agreement == 1.0 and found.passed
    assert "diluted context 100 %" in found.sentence


def test_the_copy_circuit_still_copies() -> None:
    hand = copy_model()
    shifted = {name: Prompts.of(tokens) for name, tokens in hand.shifted.items()}
    found = robustness(hand.model, Claim.of(hand.circuit), hand.means, shifted)
    assert found.passed and all(kind.circuit_accuracy == 1.0 for kind in found.kinds.values())


def test_one_kind_on_which_they_part_fails() -> None:
    hand = copy_model()
    broken = replace(Claim.of(hand.circuit), nodes={s: c for s, c in hand.nodes.items() if s != "1.attn.k"})
    shifted = {"more_decoys": Prompts.of(hand.shifted["more decoys"])}
    found = robustness(hand.model, broken, hand.means, shifted)
    assert found.kinds["more_decoys"].agreement == pytest.approx(0.5, abs=0.1)
    assert found.passed is False


def test_without_shifted_prompts_nothing_is_decided() -> None:
    hand = copy_model()
    assert robustness(hand.model, Claim.of(hand.circuit), hand.means, {}).passed is None
