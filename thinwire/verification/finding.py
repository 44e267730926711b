"""What every test of a circuit ends in: numbers, what they are held against, and a verdict in words."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Base of every test's result."""

    passed: bool | None
    """None when the test was not run, or cannot decide here."""
    threshold: str
    """When the test passes, in words with its numbers."""
    sentence: str
    """What was found, as one plain sentence with its numbers."""


def not_run(threshold: str, why: str) -> Finding:
    """The finding of a test that was not run."""
    return Finding(passed=None, threshold=threshold, sentence=why)


def to_dict(finding: Finding) -> dict[str, Any]:
    """A finding as verify.json holds it: verdict first, then the test's own numbers."""
    values = asdict(finding)
    head = ("passed", "threshold", "sentence")
    verdict = "not run" if finding.passed is None else "passed" if finding.passed else "failed"
    return {
        "verdict": verdict,
        **{name: values[name] for name in head},
        **{name: value for name, value in values.items() if name not in head},
    }


def percent(share: float) -> str:
    """A share in words: 93 %, and 99.4 % where the digit behind the point is needed to tell it from 100 %."""
    return f"{100 * share:.1f} %" if 0.99 < share < 0.9995 else f"{round(100 * share)} %"
