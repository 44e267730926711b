"""From findings to verdicts: which test counts how, and what is said beside."""

from dataclasses import replace
from functools import cache

import pytest
from judged import budget_of, material_of, subject_of
from micro_model import copy_model

from thinwire.verification.examine import examine
from thinwire.verification.finding import Finding, not_run
from thinwire.verification.registry import TESTS
from thinwire.verification.robustness import Robustness
from thinwire.verification.verdict import judge

FEW = budget_of(
    random_sets=19, null_pairs=4, pairs=8, survey_pairs=8, search_pairs=4, draws=1, restarts=1, adversary_steps=2
)


@cache
def true_findings() -> dict[str, Finding]:
    hand = copy_model()
    return examine(subject_of(hand), material_of(hand), FEW)


def failing(name: str) -> dict[str, Finding]:
    found = true_findings()
    return {**found, name: replace(found[name], passed=False)}


def test_all_tests_are_run_in_their_order_and_say_so() -> None:
    assert list(true_findings()) == list(TESTS)
    assert judge(true_findings()).level == "faithful"
    for finding in true_findings().values():
        assert finding.sentence.endswith(".") and (finding.threshold or finding.outcome == "reported")
        assert finding.n_pairs is None or finding.n_pairs > 0


@pytest.mark.parametrize("name", [name for name, test in TESTS.items() if test.role != "describes"])
def test_each_test_that_counts_takes_faithful_away(name: str) -> None:
    verdict = judge(failing(name))
    assert verdict.level == ("not supported" if name == "sufficiency" else "sufficient only")
    assert len(verdict.reasons) == 1 and verdict.reasons[0].startswith(f"{name.capitalize()} failed. ")
    necessary = name not in ("sufficiency", "necessity")
    assert (verdict.paper == "sufficient and necessary") is necessary


@pytest.mark.parametrize("name", [name for name, test in TESTS.items() if test.role == "describes"])
def test_what_describes_does_not_count(name: str) -> None:
    assert judge(failing(name)).level == "faithful"


@pytest.mark.parametrize("name", [name for name in TESTS if name not in ("sufficiency", "robustness")])
def test_a_test_that_could_not_be_run_says_why_and_the_verdict_with_it(name: str) -> None:
    """Sufficiency is always run; what robustness cannot measure is told shift by shift (below)."""
    verdict = judge({**true_findings(), name: not_run("", "the pairs are odd")})
    role = TESTS[name].role
    assert verdict.level == ("sufficient only" if role == "must pass" else "faithful")
    said = verdict.reasons if role == "must pass" else verdict.cautions
    assert any("the pairs are odd" in words for words in said) is (role != "describes")


def test_scope_is_named_beside_the_verdict_and_counts_where_it_is_claimed() -> None:
    found = true_findings()
    robust = found["robustness"]
    assert isinstance(robust, Robustness)
    parted = replace(robust, holds=["more decoys"], parts=["marker further away"])
    verdict = judge({**found, "robustness": parted})
    assert verdict.level == "faithful" and verdict.reasons == []
    assert verdict.scope.sentence == "on the task's prompts; holds on 1 of 2 shifts, not on marker further away"
    claimed = judge({**found, "robustness": replace(parted, claimed=("marker further away",), passed=False)})
    assert claimed.level == "sufficient only"
    unmeasured = replace(robust, claimed=("deeper",), unmeasured={"deeper": "no pairs"}, passed=None)
    assert "could not be tested" in judge({**found, "robustness": unmeasured}).reasons[0]


def test_few_pairs_are_a_caution() -> None:
    found = true_findings()
    assert not any("test pairs" in words for words in judge(found).cautions)
    few = replace(found["sufficiency"], n_pairs=4)
    assert (
        "There are only 4 test pairs, fewer than 50: every share is coarse."
        in judge({**found, "sufficiency": few}).cautions
    )
