"""From the findings to one verdict, by the rules of docs/verification.md."""

from collections.abc import Mapping
from typing import Literal

from thinwire.verification.finding import Finding
from thinwire.verification.measures import percent
from thinwire.verification.registry import TESTS
from thinwire.verification.sufficiency import ACCURACY, Sufficiency

Verdict = Literal["faithful", "sufficient only", "not supported"]


def judge(findings: Mapping[str, Finding]) -> tuple[Verdict, list[str]]:
    """The verdict, and one reason for each test that speaks against the circuit (or could not be run and must pass)."""
    sufficiency = findings["sufficiency"]
    assert isinstance(sufficiency, Sufficiency)
    reasons = _reasons(findings)
    if sufficiency.model_accuracy < ACCURACY:
        right, needed = percent(sufficiency.model_accuracy), percent(ACCURACY)
        why = f"The whole model does not do the task: it is right on {right} of the prompts, less than {needed}."
        return "not supported", [why, *reasons]
    if not sufficiency.passed:
        return "not supported", reasons
    return ("sufficient only" if reasons else "faithful"), reasons


def _reasons(findings: Mapping[str, Finding]) -> list[str]:
    reasons = []
    for name, test in TESTS.items():
        finding = findings[name]
        if finding.passed is False and test.role != "describes":
            reasons.append(f"{name.capitalize()} failed. {finding.sentence}")
        elif finding.passed is None and test.role == "must pass":
            reasons.append(f"{name.capitalize()} could not be tested. {finding.sentence}")
    return reasons
