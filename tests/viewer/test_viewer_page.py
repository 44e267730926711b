"""The interactive page's HTML and data, without a browser."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from report_fixture import QUOTE_EDGES
from test_report_page import Reader, policy_of
from test_viewer_markup import HOSTILE
from view_fixture import large_view, live_view, quote_view

from thinwire.viewer.bundle import view_data
from thinwire.viewer.markup import static
from thinwire.viewer.page import SCRIPTS, render_view, sandboxed
from thinwire.viewer.view_contract import View
from thinwire.viewer.wording import rounded


@pytest.fixture(scope="module")
def view() -> View:
    return quote_view()


@pytest.fixture(scope="module")
def page(view: View) -> Reader:
    return Reader(render_view(view))


def data_of(page: Reader) -> dict[str, Any]:
    return json.loads(page.raw["script"][0])


def test_the_page_forbids_the_network_and_foreign_code(page: Reader) -> None:
    policy = policy_of(page)
    assert policy.startswith("default-src 'none'") and "connect-src" not in policy and "unsafe" not in policy
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "img"}
        assert not any(name.startswith("on") or name in {"style", "src", "action"} for name in attributes)


def test_only_a_live_page_may_speak_and_only_to_its_server() -> None:
    policy = policy_of(Reader(render_view(live_view())))
    assert re.findall(r"connect-src ([^;]*)", policy) == ["'self'"]


def test_the_data_is_the_circuit(page: Reader, view: View) -> None:
    shown = data_of(page)["circuits"][0]
    assert [tuple(edge) for edge in shown["circuit"]["edges"]] == QUOTE_EDGES
    nodes, edges = shown["layout"]["nodes"], shown["layout"]["edges"]
    told = [(nodes[a]["key"], nodes[b]["key"], weight) for a, b, weight in edges]
    assert told == [(f"{a}:{s}", f"{b}:{t}", weight) for a, s, b, t, weight in QUOTE_EDGES]


def test_our_scripts_never_set_html() -> None:
    for name in SCRIPTS:
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "http:"):
            assert way not in static(name).replace("http://www.w3.org/2000/svg", ""), f"{name}: {way}"


@pytest.mark.parametrize("words", ["".join(HOSTILE), "</script><script>alert(1)</script>"])
def test_hostile_texts_stay_data(view: View, page: Reader, words: str) -> None:
    first = view.circuits[0]
    circuit = replace(first.circuit, task=words, answer_texts=(words, words))
    circuits = [replace(first, circuit=circuit, setting=words), *view.circuits[1:]]
    hostile = replace(view, title=words, tokens=dict.fromkeys(view.tokens, words), circuits=circuits)
    made = Reader(render_view(hostile))
    assert [tag for tag, _ in made.tags] == [tag for tag, _ in page.tags]
    assert data_of(made)["tokens"]["0"] == words
    assert made.raw["script"][1] == page.raw["script"][1]


def test_numbers_keep_three_digits() -> None:
    assert rounded({"a": [1.23456, -0.000123456], "b": 7, "c": "x"}, 3) == {"a": [1.23, -0.000123], "b": 7, "c": "x"}


def test_a_sandboxed_page_may_run_and_save_and_nothing_else(view: View) -> None:
    frame = Reader(sandboxed(render_view(view)))
    (tag, attributes) = frame.tags[0]
    assert tag == "iframe" and len(frame.tags) == 1
    assert attributes["sandbox"] == "allow-scripts allow-downloads"
    assert Reader(attributes["srcdoc"] or "").raw["script"][0] == Reader(render_view(view)).raw["script"][0]


def test_a_large_circuit_can_be_laid_out() -> None:
    shown = view_data(large_view(400, 3000))["circuits"][0]
    assert len(shown["layout"]["nodes"]) >= 400
