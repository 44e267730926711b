"""Solved: the whole model does the task, the search met its target, and the circuit alone does it on test pairs."""

import pytest
from hand_circuit import circuit_of
from model_builders import small_prompts

from thinwire.circuits.graph import Circuit, Score
from thinwire.circuits.score import score, standard_error
from thinwire.circuits.solved import FEW_PAIRS, caution, circuit_does, model_does, standing


def circuit(model: Score, alone: Score, status: str = "solved") -> Circuit:
    """Validation scores are good, so that only test scores can decide."""
    good = Score(0.1, 0.99, 0.1)
    return circuit_of(
        status=status,
        scores={"train": good, "validation": good, "test": alone},
        model_scores={"train": good, "validation": good, "test": model},
    )


@pytest.mark.parametrize(
    ("accuracy", "loss", "does"),
    [(0.95, 0.15, True), (0.949, 0.01, False), (1.0, 0.151, False)],  # both bars are inclusive
)
def test_a_whole_model_needs_accuracy_and_loss(accuracy: float, loss: float, does: bool) -> None:
    assert model_does(Score(loss, accuracy, 0.0)) is does


@pytest.mark.parametrize(
    ("accuracy", "loss", "error", "does"),
    [
        (0.9, 0.15, None, True),
        (0.89, 0.1, None, False),
        (0.95, 0.151, None, False),  # no standard error is known: none to spare
        (0.95, 0.19, 0.02, True),  # 0.15 + 2 x 0.02
        (0.95, 0.191, 0.02, False),
    ],
)
def test_a_circuit_may_miss_its_target_by_two_standard_errors(
    accuracy: float, loss: float, error: float | None, does: bool
) -> None:
    assert circuit_does(Score(loss, accuracy, 0.0, error, 100), target_loss=0.15) is does


def test_a_circuit_of_a_model_that_guesses_solves_nothing() -> None:
    """`prune else_elif` of the demo: a circuit of accuracy 0.977 in a model at chance."""
    found = standing(circuit(Score(0.69, 0.62, 0.0), Score(0.08, 0.977, 0.1)))
    assert (found.model_does, found.target_met, found.circuit_does, found.solved) == (False, True, True, False)
    assert found.why_not == ("the whole model is right on 62.0% of the test prompts at a loss of 0.690",)


def test_a_circuit_that_holds_on_validation_pairs_alone_solves_nothing() -> None:
    found = standing(circuit(Score(0.05, 0.99, 0.0), Score(0.236, 0.93, 0.1, 0.02, 256)))
    assert not found.solved
    assert found.why_not == ("the circuit is right on 93.0% of the test prompts at a loss of 0.236 ± 0.020",)


def test_a_circuit_that_missed_its_target_solves_nothing_whatever_its_test_loss() -> None:
    found = standing(circuit(Score(0.05, 0.99, 0.0), Score(0.01, 1.0, 0.0), "not_solved"))
    assert not found.solved
    assert found.why_not == ("no circuit met the target of 0.15; the lowest loss was 0.100",)


def test_solved_has_no_reason_against_it() -> None:
    found = standing(circuit(Score(0.05, 0.99, 0.0), Score(0.12, 0.97, 0.1, 0.01, 256)))
    assert found.solved
    assert found.why_not == ()
    assert found.n_test_pairs == 256


def test_few_pairs_are_cautioned_about() -> None:
    assert caution(FEW_PAIRS) is None
    assert caution(None) is None
    assert (caution(4) or "").startswith("only 4 test pairs")


def test_a_score_says_how_many_pairs_stand_behind_it_and_how_sure_it_is() -> None:
    """Two pairs with losses (ln 2, ln 2) and (0, 0) nearly: mean over pairs ln 2 / 2, deviation ln 2 / sqrt 2."""
    prompts = small_prompts(2)
    from torch import tensor, zeros

    difference = tensor([0.0, 50.0, 0.0, -50.0])  # clean of pair 0, 1; corrupt of pair 0, 1
    assert standard_error(difference, prompts) == pytest.approx(0.693147 / 2**0.5 / 2**0.5)
    logits = zeros(4, 17)
    found = score(logits, logits, prompts)
    assert (found.n_pairs, found.loss_error) == (2, 0.0)


def test_scores_of_before_are_read_without_pairs() -> None:
    values = circuit_of().to_dict()
    for scores in (values["scores"], values["model_scores"], values["calibrated_scores"]):
        for split in scores.values():
            del split["loss_error"], split["n_pairs"]
    found = Circuit.from_dict(values)
    assert found == circuit_of()
    assert found.scores["test"].n_pairs is None
