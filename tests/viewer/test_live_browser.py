"""The live page in a real browser: it answers while a person types and takes parts out."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chromium import Watch, barriers
from playwright.sync_api import Browser, Page, expect
from report_fixture import QUOTE_EDGES, QUOTE_NODES
from view_fixture import V49, edges_of, live_view, named, quote_view

from thinwire.viewer.bundle import view_data
from thinwire.viewer.live import LiveServer, Question
from thinwire.viewer.page import render_view
from thinwire.workflows.live import Ask, Parts, Score, Which


def live_answer(request: Ask) -> dict[str, Any]:
    """Every part that is out takes a quarter away; activations are the number of tokens."""
    tokens = request.prompt.split(" ")
    out = len(request.nodes) + len(request.edges)
    row = [float(len(tokens))] * len(tokens)
    nodes = {f"{site}:{c}": ([0.0] * len(tokens) if f"{site}:{c}" in request.nodes else row, row)
             for site, channels in QUOTE_NODES.items() for c in channels}  # fmt: skip
    return {"tokens": tokens, "model": 0.99, "circuit": 0.9, "changed": 0.9 - out / 4, "milliseconds": 1.0,
            "nodes": nodes, "attention": {}, "unembed": {}}  # fmt: skip


@contextmanager
def serving(browser: Browser) -> Iterator[tuple[Page, list[Ask], list[str]]]:
    """A live page with its server; what was asked of the prompt, and which circuits were measured."""
    view, asked, measured = quote_view(), [], []
    entries = {entry["id"]: entry for entry in view_data(view)["circuits"]}

    def evaluate(request: Ask) -> dict[str, Any]:
        asked.append(request)
        return live_answer(request)

    def circuit(request: Which) -> dict[str, Any]:
        measured.append(request.circuit)
        return entries[request.circuit] | {"tokens": view.tokens}

    def score(request: Parts) -> Score:
        out = len(request.nodes) + len(request.edges)
        return Score(512, 0.14 + out, 0.99 - out / 10, 0.97 - out / 4)

    questions = {
        "evaluate": Question(Ask, evaluate),
        "circuit": Question(Which, circuit),
        "score": Question(Parts, score),
    }
    with LiveServer(render_view(live_view()), questions) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        watch = Watch(page)
        page.goto(server.url)
        page.locator("#live-score").wait_for()
        yield page, asked, measured
        assert watch.errors == []
        context.close()


def test_live_answers_while_typing_and_taking_out(browser: Browser) -> None:
    with serving(browser) as (page, asked, measured):
        assert len(measured) == 1 and asked[0].prompt == "print('single_double_quote"  # the task's own prompt
        assert page.locator("#live-said").inner_text().count("%") >= 3
        assert "On all 512 test prompts: loss 0.140, right on 99.0" in page.locator("#live-score").inner_text()
        page.locator("#prompt").fill("print('x y")
        expect(page.locator("#drawing .tw-token")).to_have_count(2)  # the typed tokens stand under the drawing
        page.locator("#taking").check()
        page.locator(f"#drawing [data-node='{V49}']").click()
        expect(page.locator(f"#drawing [data-node='{V49}']")).to_have_class(re.compile("tw-out"))
        expect(page.locator("#live-score")).to_contain_text("loss 1.140", timeout=30_000)
        assert page.get_by_text("1 part out").is_visible()
        assert asked[-1].nodes == [V49] and asked[-1].prompt == "print('x y"
        expect(page.locator("#drawing .tw-small", has_text="your prompt: 65.0")).to_have_count(1)  # the answer on top
        mine = [e for e in QUOTE_EDGES if V49 in (f"{e[0]}:{e[1]}", f"{e[2]}:{e[3]}")]
        assert edges_of(page, ".tw-out") == named(mine)
        edge = page.locator("#drawing .tw-edge[data-target='0.mlp.neuron:412']").first.get_attribute("data-e")
        page.locator(f"#drawing .tw-edge-hit[data-e='{edge}']").dispatch_event("click")
        expect(page.locator("#live-score")).to_contain_text("loss 2.140", timeout=30_000)
        assert page.get_by_text("2 parts out").is_visible()
        assert asked[-1].edges == [int(edge or -1)]
        page.get_by_role("button", name="Put all back").click()
        expect(page.locator("#drawing .tw-out")).to_have_count(0)
        expect(page.locator("#live-said")).not_to_contain_text("out")


def test_live_shades_by_the_typed_prompt_and_goes_on_with_the_next_task(browser: Browser) -> None:
    with serving(browser) as (page, asked, measured):
        page.locator("#prompt").fill("a b c")
        page.locator("#drawing .tw-token").nth(1).click()
        shaded = page.locator("#drawing .tw-differs.tw-plus")
        expect(shaded).to_have_count(25)  # every node holds 3 at every token
        page.locator("#task").select_option("while_return_true")
        expect(page.locator("#prompt")).to_have_value("print('while_return_true")
        page.locator("#live-score").wait_for()
        assert len(measured) == 2 and asked[-1].prompt == "print('while_return_true"
        page.locator("#pair").select_option("0")
        expect(page.locator("#drawing .tw-token[data-side=clean]")).to_have_count(7)


def test_live_by_keyboard_and_without_barriers(browser: Browser) -> None:
    with serving(browser) as (page, asked, _):
        page.locator("#drawing .tw-node[tabindex='0']").focus()
        page.keyboard.press("x")
        expect(page.locator("#live-score")).to_contain_text("with these parts out", timeout=30_000)
        assert len(asked[-1].nodes) == 1
        assert barriers(page) == []
