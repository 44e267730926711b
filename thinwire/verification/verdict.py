"""From the findings to a verdict, by the rules of docs/verification.md."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from thinwire.circuits.solved import FEW_PAIRS
from thinwire.verification.finding import Finding
from thinwire.verification.measures import percent
from thinwire.verification.registry import TESTS
from thinwire.verification.robustness import Robustness
from thinwire.verification.sufficiency import ACCURACY, Sufficiency

Level = Literal["faithful", "sufficient only", "not supported"]
PaperLevel = Literal["sufficient and necessary", "sufficient, not shown to be necessary", "not sufficient"]


@dataclass(frozen=True)
class Scope:
    """Beyond the task's prompts: shifts on which circuit and model go together, and on which they part."""

    claimed: tuple[str, ...]
    holds: list[str]
    outside: list[str]
    unmeasured: dict[str, str]
    """Shift -> why it could not be measured."""

    @property
    def sentence(self) -> str:
        """As it follows the verdict: "on the task's prompts; holds on 5 of 6 shifts, not on byte strings"."""
        n = len(self.holds) + len(self.outside)
        if not n:
            return "on the task's prompts; no shifts were measured"
        words = f"on the task's prompts; holds on {len(self.holds)} of {n} shifts"
        named = ", ".join(name.replace("_", " ") for name in self.outside)
        return f"{words}, not on {named}" if named else words


@dataclass(frozen=True)
class Verdict:
    """What the findings say together."""

    level: Level
    paper: PaperLevel
    """As the paper tests it: sufficiency and necessity alone."""
    reasons: list[str]
    """One sentence or two for each test that speaks against the circuit, or must pass and could not be run."""
    scope: Scope
    cautions: list[str]
    """What does not change the verdict and has to be known beside it."""


def judge(findings: Mapping[str, Finding]) -> Verdict:
    """The verdict of one claim's findings."""
    sufficiency, robustness = findings["sufficiency"], findings["robustness"]
    assert isinstance(sufficiency, Sufficiency) and isinstance(robustness, Robustness)
    passed = {name: findings[name].passed for name in TESTS}
    level = level_of(sufficiency.model_accuracy, passed, bool(robustness.claimed))
    reasons = [] if sufficiency.model_accuracy >= ACCURACY else [_cannot(sufficiency)]
    reasons += [_reason(name, findings[name]) for name in TESTS if _against(name, passed, bool(robustness.claimed))]
    necessary = bool(findings["necessity"].passed)
    return Verdict(
        level=level,
        paper="not sufficient"
        if level == "not supported"
        else "sufficient and necessary"
        if necessary
        else "sufficient, not shown to be necessary",
        reasons=reasons,
        scope=Scope(robustness.claimed, robustness.holds, robustness.parts, robustness.unmeasured),
        cautions=_cautions(findings, sufficiency),
    )


def _cannot(sufficiency: Sufficiency) -> str:
    right, needed = percent(sufficiency.model_accuracy), percent(ACCURACY)
    return f"The whole model does not do the task: it is right on {right} of the prompts, less than {needed}."


def level_of(model_accuracy: float, passed: Mapping[str, bool | None], claims_shifts: bool) -> Level:
    """The verdict that follows from how each test came out. `claims_shifts`: the claim covers shifted prompts, so that
    robustness has to pass."""
    if model_accuracy < ACCURACY or not passed["sufficiency"]:
        return "not supported"
    return "sufficient only" if any(_against(name, passed, claims_shifts) for name in TESTS) else "faithful"


def _against(name: str, passed: Mapping[str, bool | None], claims_shifts: bool) -> bool:
    """Whether a test speaks against the circuit."""
    role = TESTS[name].role
    has_to_pass = role == "must pass" or (name == "robustness" and claims_shifts)
    return role != "describes" and (passed[name] is False or (passed[name] is None and has_to_pass))


def _reason(name: str, finding: Finding) -> str:
    how = "could not be tested" if finding.passed is None else "failed"
    return f"{name.capitalize()} {how}. {finding.sentence}"


def _cautions(findings: Mapping[str, Finding], sufficiency: Sufficiency) -> list[str]:
    cautions = []
    if (n := sufficiency.n_pairs or 0) < FEW_PAIRS:
        cautions.append(f"There are only {n} test pairs, fewer than {FEW_PAIRS}: every share is coarse.")
    for name, test in TESTS.items():
        if findings[name].outcome == "not run" and test.role == "must not fail":
            cautions.append(f"{name.capitalize()}: {findings[name].sentence}")
    return cautions
