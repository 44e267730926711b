"""The tests, in the order of docs/verification.md. A new one is a file with its function, and an entry here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from thinwire.progress import Progress
from thinwire.verification import (
    adversary,
    completeness,
    controls,
    donors,
    interchange,
    minimality,
    necessity,
    reconstruction,
    robustness,
    seeds,
    selectivity,
    simplicity,
    stochastic,
    sufficiency,
    text,
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
    exact: bool = False
    """Whether it takes the model itself, not a twin that skips zeros: its numbers stand beside those of `eval` and
    `prune`, so that sums have to be taken in the same order; or it prunes again, and whoever prunes knows by the model
    whether its means are stored."""


TESTS: dict[str, Test] = {
    "sufficiency": Test(sufficiency.sufficiency, "must pass", exact=True),
    "necessity": Test(necessity.necessity, "must pass"),
    "selectivity": Test(selectivity.selectivity, "describes"),
    "interchange": Test(interchange.interchange, "must pass", interchange.THRESHOLD),
    "donors": Test(donors.donors, "must not fail", donors.THRESHOLD),
    "stochastic": Test(stochastic.stochastic, "must pass"),
    "adversary": Test(adversary.adversary, "describes", adversary.THRESHOLD),
    "completeness": Test(completeness.completeness, "must not fail", completeness.THRESHOLD),
    "minimality": Test(minimality.minimality, "must not fail", minimality.THRESHOLD),
    "controls": Test(controls.controls, "must not fail", controls.THRESHOLD, exact=True),
    "seeds": Test(seeds.seeds, "describes", seeds.THRESHOLD, exact=True),
    "robustness": Test(robustness.robustness, "must not fail"),
    "simplicity": Test(simplicity.simplicity, "describes"),
    "reconstruction": Test(reconstruction.reconstruction, "describes"),
    "text": Test(text.text_kl, "describes"),
}
