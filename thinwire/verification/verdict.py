"""From nine findings to one verdict, by the rules of docs/verification.md."""

from collections.abc import Mapping
from typing import Literal

from thinwire.verification.finding import Finding, percent
from thinwire.verification.sufficiency import ACCURACY, Sufficiency

Verdict = Literal["faithful", "sufficient only", "not supported"]
TESTS = (
    "sufficiency",
    "necessity",
    "selectivity",
    "interchange",
    "stochastic",
    "controls",
    "seeds",
    "robustness",
    "simplicity",
)
"""In the order of docs/verification.md."""
MUST_PASS = ("necessity", "interchange", "stochastic")
MUST_NOT_FAIL = ("controls", "robustness")


def judge(findings: Mapping[str, Finding]) -> tuple[Verdict, list[str]]:
    """The verdict, and one reason for each test that speaks against the circuit (or could not be run and must pass)."""
    sufficiency = findings["sufficiency"]
    assert isinstance(sufficiency, Sufficiency)
    if sufficiency.model_accuracy < ACCURACY:
        right, needed = percent(sufficiency.model_accuracy), percent(ACCURACY)
        why = f"The whole model does not do the task: it is right on {right} of the prompts, less than {needed}."
        return "not supported", [why, *_reasons(findings)]
    if not sufficiency.passed:
        return "not supported", _reasons(findings)
    reasons = _reasons(findings)
    return ("sufficient only" if reasons else "faithful"), reasons


def _reasons(findings: Mapping[str, Finding]) -> list[str]:
    reasons = []
    for name in ("sufficiency", *MUST_PASS, *MUST_NOT_FAIL):
        finding = findings[name]
        if finding.passed is False:
            reasons.append(f"{name.capitalize()} failed. {finding.sentence}")
        elif finding.passed is None and name in MUST_PASS:
            reasons.append(f"{name.capitalize()} could not be tested. {finding.sentence}")
    return reasons
