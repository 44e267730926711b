"""The tests, in the order of docs/verification.md. A new one is a file with its function, and an entry here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from thinwire.progress import Progress
from thinwire.verification import (
    controls,
    interchange,
    necessity,
    robustness,
    seeds,
    selectivity,
    simplicity,
    stochastic,
    sufficiency,
)
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding
from thinwire.verification.material import TaskMaterial
from thinwire.verification.subject import Subject

Role = Literal["must pass", "must not fail", "describes"]
"""How a test counts in the verdict; one that must pass speaks against a circuit also when it could not be run."""


@dataclass(frozen=True)
class Test:
    """One test of circuits."""

    __test__ = False  # for pytest, which takes it for a class of tests

    run: Callable[[Subject, TaskMaterial, Budget, int, Progress], Finding]
    """(subject, material, budget, seed, progress) -> finding. Raises `NotRun` when there is nothing to run it on."""
    role: Role
    threshold: str = ""
    """When it passes, for a finding of one that was not run."""


TESTS: dict[str, Test] = {
    "sufficiency": Test(sufficiency.sufficiency, "must pass"),
    "necessity": Test(necessity.necessity, "must pass"),
    "selectivity": Test(selectivity.selectivity, "describes"),
    "interchange": Test(interchange.interchange, "must pass", interchange.THRESHOLD),
    "stochastic": Test(stochastic.stochastic, "must pass"),
    "controls": Test(controls.controls, "must not fail", controls.THRESHOLD),
    "seeds": Test(seeds.seeds, "describes", seeds.THRESHOLD),
    "robustness": Test(robustness.robustness, "must not fail"),
    "simplicity": Test(simplicity.simplicity, "describes"),
}
