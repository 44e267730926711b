"""The report's HTML, without a browser: complete, self-contained, and deaf to what its data says."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_fixture import make_report, with_part, with_task
from test_viewer_markup import HOSTILE
from view_fixture import quote_view

from thinwire.circuits.solved import SOLVED_MEANS
from thinwire.evidence.records import NodeWords, Said
from thinwire.viewer.contract import Compared, ExamplePair, ModelReport, Report, Rung, Side, Way
from thinwire.viewer.model_tables import selection_table
from thinwire.viewer.page import render_view
from thinwire.viewer.report import render_report, report_data
from thinwire.viewer.wording import count


class Reader(HTMLParser):
    """Tags with their attributes, text outside of style and script, and the content of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.text = ""
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in self.raw:
            self.inside.append(tag)
            self.raw[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.raw[self.inside[-1]][-1] += data
        else:
            self.text += data


@pytest.fixture(scope="module")
def report() -> Report:
    return make_report()


@pytest.fixture(scope="module")
def page(report: Report) -> Reader:
    return Reader(render_report(report))


def policy_of(page: Reader) -> str:
    return next(a["content"] or "" for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")


def test_the_policy_allows_our_own_style_and_script_alone(page: Reader) -> None:
    policy = policy_of(page)
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    code = [page.raw["style"][0], page.raw["script"][-1]]
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in code}
    assert allowed == hashes


def test_nothing_is_fetched_and_nothing_runs_from_an_attribute(page: Reader) -> None:
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        for name, value in attributes.items():
            assert not name.startswith("on"), f"{tag} {name}"
            assert name != "style", f"{tag} has a style attribute, which the policy would refuse"
            if name in {"src", "href", "action", "data"}:
                assert (value or "").startswith("#"), f"{tag} {name}={value}"


def test_the_data_comes_back_from_the_page(page: Reader, report: Report) -> None:
    data = json.loads(page.raw["script"][0])
    assert data == json.loads(json.dumps(report_data(report)))
    assert [task["name"] for task in data["tasks"]] == [task.name for task in report.tasks]
    edges = report.tasks[0].models["sparse"].circuit.edges
    assert data["tasks"][0]["models"]["sparse"]["circuit"]["edges"] == [list(edge) for edge in edges]


def test_ids_are_unique_and_links_lead_somewhere(page: Reader) -> None:
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    targets = {(a["href"] or "")[1:] for t, a in page.tags if t == "a"}
    assert targets <= set(ids)


def test_headings_come_in_order(page: Reader) -> None:
    levels = [int(t[1]) for t, _ in page.tags if re.fullmatch("h[1-6]", t)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))


def test_every_picture_has_a_name(page: Reader) -> None:
    for tag, attributes in page.tags:
        if tag == "svg":
            assert attributes.get("role") == "img"


def hostile_report(words: str) -> Report:
    """Every text of a report that comes from outside is `words`."""
    report = make_report(clean=[words, "b", "c"], corrupt=["a", words, "c"], n_tasks=2)
    sides: tuple[Side, Side] = ("sparse", "dense")
    for i in range(2):
        report = with_task(
            report, i, description=words, excluded_cue=words, example=ExamplePair(words, words, words, words)
        )
        for side in sides:
            part = report.tasks[i].models[side]
            assert part.evidence and part.judgement
            said = NodeWords([(words, 1.0)], [(words, 1.0)])
            report = with_part(
                report, i, side,
                circuit=replace(part.circuit, answer_texts=(words, words + "'")),
                evidence=replace(part.evidence, words=dict.fromkeys(part.evidence.words, Said(said, said))),
                judgement=replace(part.judgement, verdict=words, meaning=words, reasons=[words]),
                setting=words,
            )  # fmt: skip
    report = with_task(report, 1, name=words)
    assert report.selection
    tasks = [replace(report.selection.tasks[0], unavailable=words), *report.selection.tasks[1:]]
    return replace(
        report, title=words, command=words, environment={words: words}, solved_means=words,
        models={**report.models, "sparse": replace(report.models["sparse"], label=words)},
        selection=replace(report.selection, tasks=tasks),
    )  # fmt: skip


@pytest.mark.parametrize("words", ["".join(HOSTILE), "\u2028</script><script>alert(1)</script>"])
def test_hostile_tokens_stay_text(words: str, page: Reader) -> None:
    made = Reader(render_report(hostile_report(words)))
    assert len(made.raw["script"]) == 2 and len(made.raw["style"]) == 1
    known = {tag for tag, _ in page.tags}
    assert {tag for tag, _ in made.tags} <= known
    assert not any(name.startswith("on") for _, attributes in made.tags for name in attributes)
    assert made.raw["script"][1] == page.raw["script"][1]
    assert "alert(1)" not in policy_of(made)
    json.loads(made.raw["script"][0])


def single(report: Report) -> Report:
    """The same without the dense twin, as a run's own report has it."""
    tasks = [replace(task, models={"sparse": task.models["sparse"]}) for task in report.tasks]
    headline = replace(report.means.headline, means={"sparse": report.means.headline.means["sparse"]}, ratio=None)
    means = replace(report.means, sizes=[headline], headline=headline)
    models: dict[Side, ModelReport] = {"sparse": report.models["sparse"]}
    return replace(
        report,
        title="Circuits of a run",
        models=models,
        tasks=tasks,
        means=means,
        twins=None,
        stages=[],
        selection=None,
    )


def test_a_report_of_one_model_stands_alone(report: Report) -> None:
    text = Reader(render_report(single(report))).text
    assert "dense twin" not in text.split("Definitions")[0]
    assert "20 edges" in text


def test_the_verdict_stands_with_the_numbers(report: Report, page: Reader) -> None:
    """On the first screen, in the table of all tasks, in every folded row."""
    html = render_report(report)
    first = html[: html.index("Five questions")]
    assert first.count("sufficient only") >= 3 and "needs" not in first
    table = html[html.index('id="main-table"') : html.index("</table>", html.index('id="main-table"'))]
    assert table.count("verdict-word sufficient-only") == 8
    assert table.count("paper: sufficient and necessary") == 8
    assert "holds on 2 of 3 shifts, not on byte strings" in first and "the paper&#x27;s own two tests" in first
    assert "edges that suffice" in first
    folded = re.findall(r'<details class="task".*?</summary>', html)
    assert len(folded) == 3 and all(row.count("sufficient only") == 2 for row in folded)
    standing = replace(report.tasks[1].models["sparse"].standing, model_does=False)
    bare = with_part(report, 1, "sparse", judgement=None, standing=standing)
    html = render_report(bare)
    assert "not verified" in html and "(the whole model does not do it)" in html


def test_a_circuit_that_its_tests_deny_is_not_said_to_suffice(report: Report) -> None:
    judgement = report.tasks[0].models["sparse"].judgement
    assert judgement
    denied = with_part(single(report), 0, "sparse", judgement=replace(judgement, verdict="not supported"))
    html = render_report(denied)
    first = html[: html.index("Five questions")]
    assert "suffice" not in first and "meets the target, but its tests do not support it" in first
    assert "edges of a circuit that meets the target" in first


def test_an_empty_circuit_and_one_that_fails_on_test_pairs_are_said_to_be(report: Report) -> None:
    """At a target of 0.8 no node is needed: the loss is met on test pairs too, and the task is not done."""
    part = report.tasks[0].models["sparse"]
    empty = replace(part.circuit, nodes={}, edges=[], minimal_edges=None, target_loss=0.8)
    failed = replace(part.standing, circuit_does=False)
    page = with_part(single(report), 0, "sparse", circuit=empty, standing=failed, evidence=None)
    html = render_report(page)
    assert "an empty circuit, without any node, meets the target on validation pairs and does not do the task" in html
    assert "not on test pairs" not in html


def test_numbers_in_prose_come_from_data(report: Report, page: Reader) -> None:
    assert "The same, on 24 of these prompts, with 137 random sets outside the circuit" in page.text
    assert "137 random sets of as many nodes" in page.text
    assert "about 16 (Gao et al. 2025)" in page.text and "0.693" in page.text
    assert "loss of the whole model, 32 prompts" in page.text and "the circuit alone, 512 prompts" in page.text
    assert f"A task is solved when {SOLVED_MEANS}." in page.text
    assert "95.0\u00a0% of the entries of every weight matrix are exactly zero" in page.text
    model = report.models["sparse"]
    assert f"{100 * model.n_nonzero / model.n_parameters:.1f}\u00a0% are not zero" in page.text


def test_a_page_states_the_settings_of_the_circuits_that_it_shows(report: Report, page: Reader) -> None:
    assert "still does the task (loss at most 0.15) when every other channel is held at its average" in page.text
    assert "All were found with: target loss 0.15, mean ablation" in page.text
    part = report.tasks[0].models["sparse"]
    other = replace(part.circuit, target_loss=0.3, ablation="zero")
    text = Reader(render_report(with_part(report, 0, "sparse", circuit=other, setting="target loss 0.3, zero"))).text
    assert "(loss at most 0.15 and 0.3)" in text
    assert "set to zero or held at its average over held-out code" in text
    assert "Found with: target loss 0.3, zero" in text and "They were found under different settings" in text


def test_why_a_task_is_left_out_of_the_means_is_said() -> None:
    text = Reader(render_report(make_report(dense_status="not_solved"))).text
    assert "while_return_true: no circuit of the dense twin met the target" in text


def test_reasons_are_not_cut(page: Reader) -> None:
    why = next(a for tag, a in page.tags if a.get("class") == "why")
    assert why["colspan"] == "5"
    assert "not available: the vocabulary has no single token for this answer; train a tokenizer" in page.text


def test_what_the_whole_model_does_is_not_called_solved(report: Report) -> None:
    assert report.selection
    tasks = [
        replace(task, solved=task.solved and i < 2, selected=i < 1) for i, task in enumerate(report.selection.tasks)
    ]
    table = selection_table(replace(report.selection, tasks=tasks))
    assert [table.count(f">{word}<") for word in ("selected", "the sparse model does it", "not done")] == [1, 1, 4]
    assert "solved" not in table


def test_edges_at_each_requirement_stand_side_by_side(report: Report) -> None:
    assert "at each requirement" not in Reader(render_report(report)).text
    ladder = [
        Rung("sufficient", True, [], 28, 22, "sufficient only"),
        Rung("faithful", False, ["interchange"], 90, 1234, ""),
    ]
    text = Reader(render_report(with_part(report, 0, "sparse", ladder=ladder))).text
    table = text[text.index("Edges of the smallest circuit found at each requirement") :]
    assert "sufficient: edges" in table and "22" in table and "sufficient only" in table
    assert "1,234" in table and "not verified (interchange not met)" in table


def test_what_a_mode_of_training_spared_stands_beside_the_exact_model(report: Report) -> None:
    assert "rows spared" not in Reader(render_report(report)).text
    savings = {"spared_rows": 0.5625, "exchanges": 41.26, "norm_error": 0.0625, "seconds_saved": 67.4}
    followed = replace(report.models["sparse"], mode="regrow", savings=savings)
    text = Reader(render_report(replace(report, models={**report.models, "sparse": followed}))).text
    for shown in ("regrow", "rows spared a full gradient", "56", "41.3", "67"):
        assert shown in text


def test_means_before_and_after_the_sweeps_stand_side_by_side(report: Report) -> None:
    text = Reader(render_report(report)).text
    before = text.index("induced edges before the sweep")
    assert "123" in text[before:] and "2,468" in text[before:] and "20.0" in text[before:]
    assert before < text.index("induced edges after the sweep of nodes") < text.index("minimal edges, after")
    none = replace(report, means=replace(report.means, tasks=[]))
    assert "induced edges before the sweep" not in Reader(render_report(none)).text


def test_losses_say_how_many_tokens_stand_behind_them(report: Report) -> None:
    text = Reader(render_report(report)).text
    assert "points are losses on 32,704 tokens of held-out code" in text
    assert "131,072" in text[text.index("held-out tokens behind it") :]


def test_other_ways_of_choosing_stand_in_a_table_where_they_were_compared(report: Report) -> None:
    assert "Other ways of choosing" not in Reader(render_report(report)).text
    way = Way("gates & sweep", 15, 0.741, 0.5, 75_369, 19)
    ways = [way, replace(way, method="random", n_edges_to_target=None)]
    page = render_report(with_part(report, 0, "sparse", baselines=Compared(ways, completeness_gap=0.182)))
    text = Reader(page).text
    table, n_prompts = text[text.index("Other ways of choosing") :], report.tasks[0].models["sparse"].n_test_prompts
    for shown in (
        f"{report.tasks[0].name}, sparse: ways of choosing, {count(n_prompts)} test prompts",
        "gates & sweep",
        "75,369",
        "0.741",
        "random",
        "miss 18.2\u00a0% of",
    ):
        assert shown in table
    assert "gates &amp; sweep" in page


def test_a_report_without_evidence_or_verification_is_drawn() -> None:
    bare = make_report(n_tasks=1)
    for side in ("sparse", "dense"):
        bare = with_part(bare, 0, side, evidence=None, judgement=None)
    assert "20 edges" in Reader(render_report(bare)).text


def test_no_place_on_this_machine_is_in_a_page(report: Report) -> None:
    stored = replace(report.tasks[0].models["sparse"].circuit, directory=Path("/home/somebody/runs"))
    assert "/home/somebody" not in render_report(with_part(report, 0, "sparse", circuit=stored))
    view = quote_view()
    shown = replace(view, circuits=[replace(view.circuits[0], circuit=stored)])
    assert "/home/somebody" not in render_view(shown)


def test_a_task_that_is_not_solved_is_said_to_be() -> None:
    text = Reader(render_report(make_report(dense_status="not_solved"))).text
    assert "no circuit met the target (best loss" in text
