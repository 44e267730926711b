"""What every test of a circuit ends in: numbers, what they are held against, and an outcome in words."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from thinwire.storage.records import Count

Outcome = Literal["passed", "failed", "not run", "reported"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Base of every test's result."""

    passed: bool | None
    """None when the test was not run, cannot decide here, or never decides (`Report`)."""
    threshold: str
    """When the test passes, in words with its numbers."""
    sentence: str
    """What was found, as one plain sentence with its numbers."""
    n_pairs: Count | None = None
    """Pairs of prompts behind the numbers; None where there are none."""

    @property
    def outcome(self) -> Outcome:
        """The same as `passed`, in words."""
        return "not run" if self.passed is None else "passed" if self.passed else "failed"

    def to_dict(self) -> dict[str, Any]:
        """As verify.json holds it: outcome first, then the test's own numbers."""
        values = asdict(self)
        return {"verdict": self.outcome, **{name: values.pop(name) for name in HEAD}, **values}


HEAD = tuple(field.name for field in fields(Finding))
"""What every finding has; one of a test that was not run has nothing else."""


@dataclass(frozen=True, kw_only=True)
class Report(Finding):
    """The finding of what is measured without a threshold."""

    passed: bool | None = None
    threshold: str = ""

    @property
    def outcome(self) -> Outcome:
        return "reported"


class NotRun(Exception):
    """A test cannot be run on what there is; says why, as a sentence without its full stop."""


def not_run(threshold: str, why: object) -> Finding:
    """The finding of a test that was not run."""
    return Finding(passed=None, threshold=threshold, sentence=f"Not run: {why}.")
