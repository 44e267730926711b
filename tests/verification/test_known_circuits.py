"""Held to the ground truth: every true circuit is faithful, nothing that looks like one is.

Thresholds are set by these models (docs/verification.md); `thinwire benchmark` does the same at every size, with all
mutations of every truth.
"""

import pytest
from judged import budget_of

from thinwire.circuits.prompts import Prompts
from thinwire.ground_truth.families import FAMILIES, known_model
from thinwire.ground_truth.known import KnownModel
from thinwire.ground_truth.parts import Parts
from thinwire.verification.claim import Claim
from thinwire.verification.examine import examine
from thinwire.verification.finding import Finding
from thinwire.verification.material import TaskMaterial
from thinwire.verification.registry import TESTS
from thinwire.verification.subject import Subject
from thinwire.verification.verdict import judge

PAIRS = dict.fromkeys(("null_pairs", "pairs", "survey_pairs", "search_pairs"), 16)
BUDGET = budget_of(**PAIRS, random_sets=40, draws=4, restarts=2, adversary_steps=10)


def examined(known: KnownModel, parts: Parts) -> dict[str, Finding]:
    claim = Claim(known.family, known.fingerprint, known.nodes(parts), parts.edges(known.model), "minimal")
    material = TaskMaterial(
        test=Prompts.of(known.pairs["test"]),
        search=Prompts.of(known.pairs["validation"]),
        others={name: Prompts.of(tokens) for name, tokens in known.others.items()},
        shifted={name: Prompts.of(tokens) for name, tokens in known.shifted.items()},
        windows=known.windows,
    )
    return examine(Subject(known.model, claim, known.means), material, BUDGET)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_true_circuit_is_faithful_and_its_lookalikes_are_not(family: str) -> None:
    known = known_model(family)
    findings = examined(known, known.truth)
    verdict = judge(findings)
    assert verdict.level == "faithful", verdict.reasons
    assert verdict.paper == "sufficient and necessary" and verdict.scope.outside == []
    failed = [name for name, finding in findings.items() if finding.passed is False]
    assert all(TESTS[name].role == "describes" for name in failed)
    for name, parts in known.lookalikes.items():
        assert judge(examined(known, parts)).level != "faithful", name


def test_one_of_two_copies_is_sufficient_and_no_more() -> None:
    known = known_model("redundant_head")
    verdict = judge(examined(known, known.lookalikes["the first copy alone"]))
    assert (verdict.level, verdict.paper) == ("sufficient only", "sufficient, not shown to be necessary")
    assert {reason.split()[0] for reason in verdict.reasons} >= {"Necessity", "Completeness"}
