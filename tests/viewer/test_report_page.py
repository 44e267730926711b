"""The report's HTML, without a browser: complete, self-contained, and deaf to what its data says."""

import base64
import copy
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from report_fixture import make_report
from test_viewer_markup import HOSTILE

from thinwire.viewer.report import render_report


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
def report() -> dict[str, Any]:
    return make_report()


@pytest.fixture(scope="module")
def page(report: dict[str, Any]) -> Reader:
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


def test_the_data_comes_back_from_the_page(page: Reader, report: dict[str, Any]) -> None:
    data = json.loads(page.raw["script"][0])
    assert data["summary"] == report["summary"]
    assert [t["name"] for t in data["tasks"]] == [t["name"] for t in report["tasks"]]
    assert data["tasks"][0]["sparse"]["circuit"]["edges"] == json.loads(
        json.dumps(report["tasks"][0]["sparse"]["circuit"]["edges"])
    )


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


def hostile_report(words: str) -> dict[str, Any]:
    report = make_report(clean=[words, "b", "c"], corrupt=["a", words, "c"], n_tasks=2)
    report = copy.deepcopy(report)
    for task in report["tasks"]:
        task["description"] = task["excluded_cue"] = words
        task["example"] = dict.fromkeys(task["example"], words)
        for side in ("sparse", "dense"):
            task[side]["circuit"]["answer_texts"] = [words, words + "'"]
            for node in (task[side]["evidence"] or {"nodes": {}})["nodes"].values():
                node["reads"], node["writes"] = [words], [words]
    report["tasks"][1]["name"] = words
    report["summary"]["tasks"][words] = report["summary"]["tasks"].pop("while_return_true")
    report["title"] = report["command"] = report["models"]["sparse"]["label"] = words
    report["environment"] = {words: words}
    report["selection"]["tasks"][0]["unavailable"] = words
    return report


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


def test_a_report_of_one_model_stands_alone(report: dict[str, Any]) -> None:
    single = copy.deepcopy(report)
    del single["models"]["dense"]
    for task in single["tasks"]:
        del task["dense"]
    single["summary"] |= {"edge_ratio": None, "heldout_loss": {"sparse": 3.35}}
    single["summary"]["tasks"] = {n: {"sparse": c["sparse"]} for n, c in single["summary"]["tasks"].items()}
    single |= {"twins_tried": [], "stages": []}
    single["selection"]["tasks"] = []
    text = Reader(render_report(single)).text
    assert "dense twin needs" not in text
    assert "20 edges" in text


def test_what_a_mode_of_training_spared_stands_beside_the_exact_model(report: dict[str, Any]) -> None:
    assert "rows spared" not in Reader(render_report(report)).text
    followed = copy.deepcopy(report)
    savings = {"spared_rows": 0.5625, "exchanges": 41.26, "norm_error": 0.0625, "seconds_saved": 67.4}
    followed["models"]["sparse"] |= {"mode": "regrow", "savings": savings}
    text = Reader(render_report(followed)).text
    for shown in ("regrow", "rows spared a full gradient", "56", "41.3", "67"):
        assert shown in text


def test_means_before_and_after_the_sweeps_stand_side_by_side(report: dict[str, Any]) -> None:
    text = Reader(render_report(report)).text
    before = text.index("induced edges before the sweep")
    assert "123" in text[before:] and "2,468" in text[before:] and "20.0" in text[before:]
    assert before < text.index("induced edges after the sweep of nodes") < text.index("minimal edges, after")
    none = copy.deepcopy(report)
    none["summary"]["tasks_compared"] = []
    assert "induced edges before the sweep" not in Reader(render_report(none)).text


def test_other_ways_of_choosing_stand_in_a_table_where_they_were_compared(report: dict[str, Any]) -> None:
    assert "Other ways of choosing" not in Reader(render_report(report)).text
    compared = copy.deepcopy(report)
    way = {"edges": 15, "test_loss": 0.741, "test_accuracy": 0.5, "n_edges_to_target": 75_369, "n_edges_swept": 19}
    ways = [way | {"method": "gates & sweep"}, way | {"method": "random", "n_edges_to_target": None}]
    compared["tasks"][0]["sparse"]["baselines"] = {"methods": ways}
    page = render_report(compared)
    text = Reader(page).text
    table = text[text.index("Other ways of choosing") :]
    for shown in (f"{compared['tasks'][0]['name']}, sparse", "gates & sweep", "75,369", "0.741", "random"):
        assert shown in table
    assert "gates &amp; sweep" in page


def test_a_report_without_evidence_or_verification_is_drawn() -> None:
    bare = make_report(n_tasks=1)
    for side in ("sparse", "dense"):
        bare["tasks"][0][side] |= {"evidence": None, "verification": None}
    assert "20 edges" in Reader(render_report(bare)).text


def test_a_task_that_is_not_solved_is_said_to_be() -> None:
    text = Reader(render_report(make_report(dense_status="not_solved"))).text
    assert "not solved (best loss" in text
    assert "No circuit of the dense twin reached the target on while_return_true" in text
