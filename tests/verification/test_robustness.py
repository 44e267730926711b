"""Robustness: circuit and model have to agree on shifted prompts that the claim covers, also where both are wrong."""

import pytest
from judged import budget_of, material_of, subject_of
from micro_model import bracket_counter, copy_model

from thinwire.circuits.prompts import Prompts
from thinwire.verification.robustness import ShiftAgreement, robustness
from thinwire.verification.subject import Subject

BUDGET = budget_of(shifted_pairs=64)


def broken(**claimed: tuple[str, ...]) -> Subject:
    """The copy circuit without the key by which the question finds the call."""
    hand = copy_model()
    return subject_of(hand, nodes={s: c for s, c in hand.nodes.items() if s != "1.attn.k"}, **claimed)


def test_diluted_context_misleads_the_bracket_circuit_as_it_misleads_the_model() -> None:
    """Depth is read from an average over the context: in 30 tokens two brackets look like fewer than one in 12."""
    hand = bracket_counter()
    found = robustness(subject_of(hand, scope=("diluted context",)), material_of(hand), BUDGET)
    (kind,) = found.kinds.values()
    assert kind.model_accuracy == kind.circuit_accuracy == 0.5
    assert kind.agreement == 1.0 and found.passed and found.holds == ["diluted context"]
    assert "diluted context 100 %" in found.sentence


def test_what_is_not_claimed_is_reported_and_decides_nothing() -> None:
    hand = copy_model()
    found = robustness(subject_of(hand), material_of(hand), BUDGET)
    assert found.passed is None and found.outcome == "reported"
    assert found.holds == list(found.kinds) and all(kind.circuit_accuracy == 1.0 for kind in found.kinds.values())
    parted = robustness(broken(), material_of(hand), BUDGET)
    assert parted.passed is None and parted.parts == list(hand.shifted)


def test_a_claimed_kind_on_which_they_part_fails() -> None:
    hand = copy_model()
    shifted = {"more_decoys": Prompts.of(hand.shifted["more decoys"])}
    found = robustness(broken(scope=("more_decoys",)), material_of(hand, shifted=shifted), BUDGET)
    assert found.kinds["more_decoys"].agreement == pytest.approx(0.5, abs=0.1)
    assert found.passed is False and found.outcome == "failed"


def test_a_claimed_kind_that_was_not_measured_is_not_shown() -> None:
    hand = copy_model()
    missing = material_of(hand, unmeasured_shifts={"deeper": "only 3 pairs fit into 20 tokens"})
    found = robustness(subject_of(hand, scope=("more decoys", "deeper", "of no kind")), missing, BUDGET)
    assert found.passed is None
    assert found.unmeasured == {
        "deeper": "only 3 pairs fit into 20 tokens",
        "of no kind": "the task has no such shift",
    }
    assert "Not measured: deeper (only 3 pairs fit into 20 tokens)." in found.sentence


@pytest.mark.parametrize(
    ("model", "circuit", "agreement", "holds"),
    [
        (1.0, 0.85, 0.85, True),
        (0.5, 0.5, 0.9, True),  # both fail alike
        (0.5, 0.6, 0.75, False),
        (0.95, 0.79, 0.82, False),  # the model does it, the circuit does not
    ],
)
def test_a_shift_holds_where_circuit_and_model_go_together(
    model: float, circuit: float, agreement: float, holds: bool
) -> None:
    assert ShiftAgreement(model, circuit, agreement, None, 128).holds is holds


def test_without_shifted_prompts_nothing_is_decided() -> None:
    hand = copy_model()
    found = robustness(subject_of(hand), material_of(hand, shifted={}), BUDGET)
    assert found.passed is None and found.outcome == "not run" and found.n_pairs is None
