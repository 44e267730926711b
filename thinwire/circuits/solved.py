"""When a task counts as solved: the whole model does it and the circuit alone does it, on test pairs.

This is the one definition that verbs, pages and comparisons use. Test pairs decide, since validation pairs are what the
search for a circuit was steered by; a circuit's `status` says only whether that search met its target.
"""

from dataclasses import dataclass

from thinwire.circuits.graph import Circuit, Score

MODEL_ACCURACY = 0.95
"""The whole model does a task when it is right on this share of the prompts ..."""
MODEL_LOSS = 0.15
"""... at this task loss or less, nats: no circuit can do better than the model it is cut from by much."""
CIRCUIT_ACCURACY = 0.9
"""A circuit does a task when it is right on this share of the prompts ..."""
STANDARD_ERRORS = 2
"""... at a loss of at most its target and so many standard errors of the loss over pairs."""
FEW_PAIRS = 50
"""Below so many test pairs a share is uncertain by more than 4 percentage points at 90 %; pages and verdicts say so."""

SOLVED_MEANS = (
    f"on test pairs the whole model is right on at least {MODEL_ACCURACY:.0%} of the prompts at a loss of at most "
    f"{MODEL_LOSS:g} nats, and the circuit alone on at least {CIRCUIT_ACCURACY:.0%} at its target loss, within "
    f"{STANDARD_ERRORS} standard errors"
)


def model_does(score: Score) -> bool:
    """Whether a whole model with this score does the task."""
    return score.accuracy >= MODEL_ACCURACY and score.loss <= MODEL_LOSS


def circuit_does(score: Score, target_loss: float) -> bool:
    """Whether a circuit alone with this score does the task. A score without a standard error has none to spare."""
    limit = target_loss + STANDARD_ERRORS * (score.loss_error or 0.0)
    return score.accuracy >= CIRCUIT_ACCURACY and score.loss <= limit


@dataclass(frozen=True)
class Standing:
    """Whether a task is solved by a model and its circuit, and if not, why."""

    model_does: bool
    target_met: bool
    """Whether the search met its target, on validation pairs."""
    circuit_does: bool
    n_test_pairs: int | None
    """None for circuits from before it was stored."""
    why_not: tuple[str, ...]
    """One clause for each thing that is missing; none when the task is solved."""

    @property
    def solved(self) -> bool:
        return self.model_does and self.target_met and self.circuit_does


def standing(circuit: Circuit) -> Standing:
    """The standing of a circuit by its stored test scores."""
    whole, alone, target_met = circuit.model_scores["test"], circuit.scores["test"], circuit.target_met
    why_not = []
    if not model_does(whole):
        why_not.append(f"the whole model is right on {whole.accuracy:.1%} of the test prompts at a loss of {_n(whole)}")
    if not target_met:
        best = min(loss for _, loss in circuit.loss_curve)
        why_not.append(f"no circuit met the target of {circuit.target_loss:g}; the lowest loss was {best:.3f}")
    elif not circuit_does(alone, circuit.target_loss):
        why_not.append(f"the circuit is right on {alone.accuracy:.1%} of the test prompts at a loss of {_n(alone)}")
    return Standing(
        model_does(whole),
        target_met,
        target_met and circuit_does(alone, circuit.target_loss),
        alone.n_pairs,
        tuple(why_not),
    )


def _n(score: Score) -> str:
    error = "" if score.loss_error is None else f" ± {score.loss_error:.3f}"
    return f"{score.loss:.3f}{error}"


def caution(n_test_pairs: int | None) -> str | None:
    """What to say of numbers that few test pairs stand behind; None where there are enough, or nobody knows."""
    if n_test_pairs is None or n_test_pairs >= FEW_PAIRS:
        return None
    return f"only {n_test_pairs} test pairs: shares and losses are rough; {FEW_PAIRS} or more say what they seem to say"
