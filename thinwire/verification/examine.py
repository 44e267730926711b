"""All tests of one circuit, under one budget."""

from dataclasses import replace

from thinwire.progress import Progress, silent
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding, NotRun, not_run
from thinwire.verification.material import TaskMaterial
from thinwire.verification.registry import TESTS, Test
from thinwire.verification.subject import Subject


def examine(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> dict[str, Finding]:
    """Name of the test -> finding, in the order of `TESTS`. A test that cannot be run says why."""

    quick = replace(subject, model=subject.model.skipping_zeros())

    def run(test: Test) -> Finding:
        try:
            return test.run(subject if test.exact else quick, material, budget, seed, progress)
        except NotRun as why:
            return not_run(test.threshold, why)

    findings = {}
    with progress(f"verify {subject.claim.task}", total=len(TESTS), unit="test") as advance:
        for name, test in TESTS.items():
            findings[name] = run(test)
            advance(1, test=name)
    return findings
