"""The page tells its story first: five questions, answered by the report's own numbers, and honest verdicts."""

import copy
import re
from typing import Any

import pytest
from report_fixture import make_report
from test_report_page import Reader

from thinwire.viewer.questions import carrying_head, questions
from thinwire.viewer.report import render_report
from thinwire.viewer.verdicts import judged, outcome, verdict_table, verdict_words


@pytest.fixture
def report() -> dict[str, Any]:
    return make_report(n_tasks=1)


def answers(report: dict[str, Any]) -> dict[str, str]:
    """Question -> answer, as text."""
    page = questions(report["tasks"][0], report)
    items = re.findall(r"<h3>(.*?)</h3><p>(.*?)</p>", page)
    return {question: re.sub(r"<[^>]+>", "", answer).replace("\u00a0", " ") for question, answer in items}


def test_the_five_questions_are_answered_by_the_circuits_numbers(report: dict[str, Any]) -> None:
    told = answers(report)
    assert list(told) == [
        "What does it decide?",
        "Where does it read the quote?",
        "Which head carries it?",
        "What happens without it?",
        "How does it differ from the dense one?",
    ]
    decides, reads, carries, without, differs = told.values()
    assert "right on 99.0 % of unseen prompts; the whole model on 99.8 %" in decides
    assert "At token 2" in reads and "Of 3 embedding channels" in reads
    assert carries.startswith("Head 3 of layer 1: without it the circuit&#x27;s accuracy falls from 99.0 % to 51.0 %")
    assert "its accuracy is 50.3 % (loss 2.947 instead of 0.021)" in without
    assert "Verdict of all tests: sufficient only" in without
    dense = len(report["tasks"][0]["dense"]["circuit"]["edges"])
    assert f"takes 20 edges (25 nodes, 1 head), the dense twin takes {dense} edges" in differs
    assert f"{dense / 20:.1f} times" in differs


def test_the_questions_come_before_the_drawing(report: dict[str, Any]) -> None:
    page = render_report(report)
    assert page.index("What does it decide?") < page.index("<svg")


def test_what_was_not_measured_is_not_told(report: dict[str, Any]) -> None:
    task = report["tasks"][0]
    for side in ("sparse", "dense"):
        task[side] |= {"verification": None, "evidence": None}
    assert list(answers(report)) == ["What does it decide?", "How does it differ from the dense one?"]
    del task["dense"]
    assert list(answers(report)) == ["What does it decide?"]


def test_a_larger_sparse_circuit_is_said_to_be_larger(report: dict[str, Any]) -> None:
    task = report["tasks"][0]
    task["sparse"], task["dense"] = task["dense"], task["sparse"]
    assert "the sparse circuit is the larger one" in answers(report)["How does it differ from the dense one?"]


def test_the_carrying_head_is_the_one_that_is_missed_most() -> None:
    without = {"0.1": {"loss": 0.2}, "1.0": {"loss": 0.7}, "1.2": {"loss": 0.1}}
    assert carrying_head({"without_head": without}) == "1.0"
    assert carrying_head({}) is None
    assert carrying_head(None) is None


def test_no_head_is_named_when_none_matters(report: dict[str, Any]) -> None:
    found = report["tasks"][0]["sparse"]["evidence"]
    found["without_head"] = {"1.3": copy.deepcopy(found["with_all_heads"])}
    assert "None alone" in answers(report)["Which head carries it?"]


# --- verdicts -------------------------------------------------------------------------------------------------------


def test_outcomes_are_told_as_they_are() -> None:
    assert [outcome({"passed": value}) for value in (True, False, None)] == ["passed", "failed", "not run"]
    assert outcome({"verdict": "degenerate"}) == "degenerate"
    assert outcome({"sentence": "x"}) == "reported"


def test_every_test_that_states_an_outcome_is_shown(report: dict[str, Any]) -> None:
    verification = report["tasks"][0]["sparse"]["verification"]
    assert [name for name, _ in judged(verification)] == ["sufficiency", "interchange", "controls", "necessity"]
    table = verdict_table(verification, "sparse model")
    assert table is not None
    text = Reader(table).text
    for said in ("Sufficient only", "✓ passed", "✗ failed", "– not run", "Signs agree on 81 % of nodes.", "0.34"):
        assert said in text


def test_a_verdict_says_what_it_means() -> None:
    assert verdict_words({"verdict": "not_supported"}).startswith("not supported: the model does not")
    assert verdict_words({"verdict": "odd"}) == "odd"
    assert verdict_words(None) == ""


def test_a_plain_verification_has_no_verdict_table() -> None:
    assert verdict_table({"sufficiency": {"loss": 0.1}, "necessity": {"nodes_loss": 2.0}}, "x") is None
    assert verdict_table(None, "x") is None


def test_hostile_verification_stays_text() -> None:
    words = "</script><img onerror=x>"
    table = verdict_table({"verdict": words, "reasons": [words], words: {"passed": None, "sentence": words}}, words)
    assert table is not None and "<img" not in table
