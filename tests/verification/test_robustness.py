"""Robustness: circuit and model have to agree on shifted prompts, also where both are wrong."""

import pytest
from judged import budget_of, material_of, subject_of
from micro_model import bracket_counter, copy_model

from thinwire.circuits.prompts import Prompts
from thinwire.verification.robustness import robustness


def test_diluted_context_misleads_the_bracket_circuit_as_it_misleads_the_model() -> None:
    """Depth is read from an average over the context: in 30 tokens two brackets look like fewer than one in 12."""
    hand = bracket_counter()
    found = robustness(subject_of(hand), material_of(hand), budget_of())
    (kind,) = found.kinds.values()
    assert kind.model_accuracy == kind.circuit_accuracy == 0.5
    assert kind.agreement == 1.0 and found.passed
    assert "diluted context 100 %" in found.sentence


def test_the_copy_circuit_still_copies() -> None:
    hand = copy_model()
    found = robustness(subject_of(hand), material_of(hand), budget_of())
    assert found.passed and all(kind.circuit_accuracy == 1.0 for kind in found.kinds.values())


def test_one_kind_on_which_they_part_fails() -> None:
    hand = copy_model()
    broken = subject_of(hand, nodes={s: c for s, c in hand.nodes.items() if s != "1.attn.k"})
    shifted = {"more_decoys": Prompts.of(hand.shifted["more decoys"])}
    found = robustness(broken, material_of(hand, shifted=shifted), budget_of(shifted_pairs=64))
    assert found.kinds["more_decoys"].agreement == pytest.approx(0.5, abs=0.1)
    assert found.passed is False


def test_without_shifted_prompts_nothing_is_decided() -> None:
    hand = copy_model()
    assert robustness(subject_of(hand), material_of(hand, shifted={}), budget_of()).passed is None
