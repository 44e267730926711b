"""The page tells its story first: five questions, answered by the report's own numbers, and honest verdicts."""

import re
from dataclasses import replace

import pytest
from report_fixture import make_report, with_part, with_task
from test_report_page import Reader

from thinwire.evidence.records import Effect, HeadEffects
from thinwire.viewer.contract import JudgedTest, Judgement, Report
from thinwire.viewer.questions import carrying_head, questions
from thinwire.viewer.report import render_report
from thinwire.viewer.story import ratio_sentence
from thinwire.viewer.verdicts import judged_table


@pytest.fixture
def report() -> Report:
    return make_report(n_tasks=1)


def answers(report: Report) -> dict[str, str]:
    """Question -> answer, as text."""
    page = questions(report.tasks[0], report)
    items = re.findall(r"<h3>(.*?)</h3><p>(.*?)</p>", page)
    return {question: re.sub(r"<[^>]+>", "", answer).replace("\u00a0", " ") for question, answer in items}


def test_the_five_questions_are_answered_by_the_circuits_numbers(report: Report) -> None:
    told = answers(report)
    assert list(told) == [
        "What does it decide?",
        "Where does it read the quote?",
        "Which head carries it?",
        "What happens without it?",
        "How does it differ from the dense one?",
    ]
    decides, reads, carries, without, differs = told.values()
    assert "right on 99.0 % of 512 unseen prompts; the whole model on 99.8 %" in decides
    assert "At token 2" in reads and "Of 3 embedding channels" in reads
    assert carries.startswith("Head 3 of layer 1: without it the circuit&#x27;s accuracy goes from 99.0 % to 51.0 %")
    assert "(128 prompts)" in carries
    assert "its accuracy is 50.3 % of 32 prompts (loss 2.947 instead of 0.021)" in without
    assert "137 random sets of as many nodes outside the circuit: 0.031 on average, 0.050 at most, on 24 of " in without
    assert "Verdict: sufficient only on the task&#x27;s prompts; holds on 2 of 3 shifts" in without
    assert "(tests on 32 to 512 prompts)" in without and "1 reason speaks against" in without
    dense = report.tasks[0].models["dense"].circuit.n_edges
    assert (
        f"in the sparse model 20 edges suffice (25 nodes, 1 head), in the dense twin {dense} edges suffice" in differs
    )
    assert f"{dense / 20:.1f} times" in differs


def test_the_questions_come_before_the_drawing(report: Report) -> None:
    page = render_report(report)
    assert page.index("What does it decide?") < page.index("<svg")


def test_what_was_not_measured_is_not_told(report: Report) -> None:
    for side in ("sparse", "dense"):
        report = with_part(report, 0, side, judgement=None, evidence=None)
    assert list(answers(report)) == ["What does it decide?", "How does it differ from the dense one?"]
    report = with_task(report, 0, models={"sparse": report.tasks[0].models["sparse"]})
    assert list(answers(report)) == ["What does it decide?"]


def test_a_ratio_of_one_task_is_not_said_to_be_a_mean(report: Report) -> None:
    (name,) = report.means.tasks
    words = re.sub(r"<[^>]+>", "", ratio_sentence(report))
    assert words.startswith(f"{name} is the only task that both whole models do; its circuits have ")
    assert "geometric" not in words
    several = replace(report, means=replace(report.means, tasks=[name, "else_elif"]))
    words = re.sub(r"<[^>]+>", "", ratio_sentence(several)).replace("\u00a0", " ")
    assert words.startswith(f"Over 2 tasks ({name} and else_elif), circuits have ") and "(geometric means)" in words


def test_a_larger_sparse_circuit_is_said_to_be_larger(report: Report) -> None:
    models = report.tasks[0].models
    turned = with_task(report, 0, models={"sparse": models["dense"], "dense": models["sparse"]})
    assert "the sparse circuit is the larger one" in answers(turned)["How does it differ from the dense one?"]


def test_a_whole_model_that_does_not_do_the_task_is_named(report: Report) -> None:
    standing = replace(report.tasks[0].models["dense"].standing, model_does=False)
    weak = with_part(report, 0, "dense", standing=standing)
    assert "The whole dense twin does not do this task" in answers(weak)["How does it differ from the dense one?"]


def test_the_carrying_head_is_the_one_that_is_missed_most() -> None:
    without = {name: Effect(loss, 0.5, 0.0) for name, loss in (("0.1", 0.2), ("1.0", 0.7), ("1.2", 0.1))}
    assert carrying_head(HeadEffects(8, Effect(0.1, 1.0, 3.0), without)) == "1.0"
    assert carrying_head(HeadEffects(8, Effect(0.1, 1.0, 3.0), {})) is None
    assert carrying_head(None) is None


def test_no_head_is_named_when_none_matters(report: Report) -> None:
    found = report.tasks[0].models["sparse"].evidence
    assert found
    heads = replace(found.heads, without={"1.3": found.heads.whole})
    report = with_part(report, 0, "sparse", evidence=replace(found, heads=heads))
    said = answers(report)["Which head carries it?"]
    assert "None alone: taking out any single head raises the circuit's loss by at most 5.0 %" in said


# --- verdicts -------------------------------------------------------------------------------------------------------


def test_every_test_is_shown_with_its_outcome_and_its_prompts(report: Report) -> None:
    table = judged_table(report.tasks[0].models["sparse"].judgement, "sparse model")
    assert table is not None
    text = Reader(table).text
    for said in (
        "Sufficient only",
        "✓ passed",
        "✗ failed",
        "– not run",
        "Signs agree on 81 % of nodes.",
        "512",
        "0.34",
        "on the task's prompts; holds on 2 of 3 shifts, not on byte strings",
        "By the paper's own two tests, sufficiency and necessity: sufficient and necessary.",
        "With caution: There are only 20 test pairs, fewer than 50",
        "The tests take the nodes with its 17 minimal edges.",
        "must pass",
        "must not fail",
    ):
        assert said in text


def test_a_circuit_that_was_not_judged_has_no_table() -> None:
    assert judged_table(None, "x") is None
    assert judged_table(Judgement("", "", [], []), "x") is None


def test_hostile_verification_stays_text() -> None:
    words = "</script><img onerror=x>"
    table = judged_table(Judgement(words, words, [words], [JudgedTest(words, "not run", words, words)]), words)
    assert table is not None and "<img" not in table
