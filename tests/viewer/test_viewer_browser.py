"""The interactive page in a real browser: what it shows, hides, says, saves and keeps in its address."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from chromium import barriers, opened
from playwright.sync_api import Browser, Page, expect
from report_fixture import QUOTE_EDGES
from test_viewer_markup import HOSTILE
from view_fixture import V49, edges_of, large_view, named, quote_view, tab

from thinwire.viewer.bundle import view_data
from thinwire.viewer.page import render_view, sandboxed
from thinwire.viewer.view_contract import View


@pytest.fixture(scope="module")
def view() -> View:
    return quote_view()


@pytest.fixture(scope="module")
def bundle(view: View) -> dict[str, Any]:
    return json.loads(json.dumps(view_data(view)))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, view: View) -> Path:
    file = tmp_path_factory.mktemp("view") / "view.html"
    file.write_text(render_view(view), encoding="utf-8")
    return file


# --- what is shown --------------------------------------------------------------------------------------------------


def test_the_whole_circuit_is_drawn(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, _):
        assert edges_of(page) == named(QUOTE_EDGES)
        assert page.locator("#drawing .tw-node").count() == 25
        assert page.locator("#shown").inner_text() == "Showing 20 of 20 edges and 25 of 25 nodes."
        widths = dict(
            page.locator("#drawing .tw-edge[data-target]").evaluate_all(
                "es => es.map(e => [`${e.dataset.source} ${e.dataset.target}`, Number(e.getAttribute('stroke-width'))])"
            )
        )
        strongest = max(QUOTE_EDGES, key=lambda edge: abs(edge[4]))
        assert widths[f"{strongest[0]}:{strongest[1]} {strongest[2]}:{strongest[3]}"] == max(widths.values())
        dashed = page.locator("#drawing .tw-negative[data-target]").first
        assert dashed.evaluate("e => getComputedStyle(e).strokeDasharray") != "none"
        tokens = page.locator("#drawing .tw-token[data-side=clean] text").all_text_contents()
        assert "".join(tokens) == 'print("hello·world,·again'


def test_a_picked_node_tells_its_weights_and_contributions(browser: Browser, path: Path, bundle: dict) -> None:
    with opened(browser, path) as (page, _):
        page.locator(f"#drawing [data-node='{V49}']").click()
        mine = [e for e in QUOTE_EDGES if V49 in (f"{e[0]}:{e[1]}", f"{e[2]}:{e[3]}")]
        assert edges_of(page, ".tw-on") == named(mine)
        words = page.locator("#panel").inner_text()
        assert "value channel 49 of head 3, layer 1 attention" in words
        for told in ("+1.22", "−0.35", "+2.05", "−1.74", "most positive", "most negative", "How its activations"):
            assert told in words
        inside, whole = words.split("In tokens, by the circuit's weights")[1].split(
            "In tokens, by all weights of the model"
        )
        assert "</script>" not in inside and "</script> −0.20" in whole
        # 1.attn.in:12 -> v:49 has weight 1.22; it adds weight x activation, told where v:49 differs most.
        nodes = bundle["circuits"][0]["pairs"][0]["nodes"]
        place = max(range(7), key=lambda i: abs(nodes[V49][0][i] - nodes[V49][1][i]))
        assert f"contributions at token {place + 1};" in words
        clean, corrupt = nodes["1.attn.in:12"]
        row = page.get_by_role("row", name="1.attn.in:12").locator("td").all_inner_texts()
        for shown, value in zip(row[1:3], (1.22 * clean[place], 1.22 * corrupt[place]), strict=True):
            assert float(shown.replace("−", "-")) == pytest.approx(value, abs=0.006)
        page.get_by_role("button", name="1.attn.out:77", exact=True).first.click()
        assert page.locator("#panel h2").inner_text() == "1.attn.out:77"
        page.keyboard.press("Escape")
        assert page.locator("#drawing .tw-on").count() == 0


def test_thresholds_hide_and_say_what_is_hidden(browser: Browser, path: Path, bundle: dict) -> None:
    with opened(browser, path) as (page, _):
        page.locator("#weight").fill("1.025")  # a step of the slider: 200 of 400
        strong = [e for e in QUOTE_EDGES if abs(e[4]) >= 1.025]
        assert edges_of(page) == named(strong)
        said = page.locator("#shown").inner_text()
        assert f"Showing {len(strong)} of 20 edges" in said and f"Hidden: {20 - len(strong)} edges, 0 nodes" in said
        page.locator("#weight").fill("0")
        page.locator("#effect").evaluate("slider => { slider.step = 'any' }")
        page.locator("#effect").fill("0.2")
        entry = bundle["circuits"][0]
        able = {key for key, node in entry["nodes"].items() if node["effect"] >= 0.2}
        kept = [
            edge
            for i, edge in enumerate(QUOTE_EDGES)
            if {f"{edge[0]}:{edge[1]}", f"{edge[2]}:{edge[3]}"} <= able and entry["edge_effects"][str(i)] >= 0.2
        ]
        assert edges_of(page) == named(kept)
        page.locator("#effect").fill(page.locator("#effect").get_attribute("max") or "")
        assert page.locator("#drawing .tw-node:not(.tw-gone)").count() <= 1


def test_search_finds_nodes_tokens_and_labels(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, _):
        for words, key in (("0.mlp.neuron 412", "0.mlp.neuron:412"), ("1.attn.q:52", "1.attn.q:52")):
            page.locator("#search").fill(words)
            page.locator("#search").press("Enter")
            assert page.locator("#panel h2").inner_text() == key
        page.locator("#label").fill("quote type")
        page.locator("#search").fill("quote TYPE")
        page.locator("#search").press("Enter")
        assert "1 node found" in page.locator("#said").inner_text()
        page.locator("#search").fill("<b>")  # a token that every node of the fixture reads
        page.locator("#search").press("Enter")
        assert "25 nodes found" in page.locator("#said").inner_text()
        page.locator("#search").fill("no such thing")
        page.locator("#search").press("Enter")
        assert page.locator("#said").inner_text() == "Nothing found."


def test_prompts_show_both_sides_and_attention(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, _):
        words = tab(page, "Prompts")
        assert "91.0\u00a0%" in words and "87.0\u00a0%" in words and "99.8\u00a0%" in words
        assert page.locator("#panel .pattern").count() == 2  # one head, two sides
        page.locator("#drawing .tw-token[data-side=corrupt][data-at='1']").click()
        assert page.locator("#drawing .tw-token.tw-now").get_attribute("data-side") == "corrupt"
        page.locator("#pair").select_option("1")
        assert "Pair 2 of 2" in page.locator("#panel").inner_text()


def test_models_and_tasks_are_switched_and_shown_beside_each_other(browser: Browser, path: Path, bundle: dict) -> None:
    dense = bundle["circuits"][1]
    with opened(browser, path) as (page, _):
        page.locator("#beside-choice").select_option(dense["id"])
        assert page.locator("#beside .tw-edge[data-target]").count() == len(dense["circuit"]["edges"])
        page.locator("#model").select_option("dense")
        assert page.locator("#title").inner_text() == "single_double_quote, dense"
        assert len(edges_of(page)) == len(dense["circuit"]["edges"])
        page.locator("#model").select_option("sparse")
        page.locator("#task").select_option("while_return_true")
        assert "while_return_true" in page.locator("#panel h2").inner_text()


def test_circuits_beside_each_other_stand_on_the_same_rows(browser: Browser, path: Path, bundle: dict) -> None:
    with opened(browser, path, hash_=f"#b={bundle['circuits'][2]['id']}") as (page, _):
        rows = """root => [...root.querySelectorAll('.tw-block')].map(e => [
            e.textContent + (e.nextElementSibling?.matches('.tw-block-part') ? e.nextElementSibling.textContent : ''),
            Math.round(e.getBoundingClientRect().y)])"""
        mine, theirs = (dict(page.locator(where).evaluate(rows)) for where in ("#drawing", "#beside"))
        assert mine.keys() >= {"Answers", "Final", "Embedding"}
        for name in mine.keys() & theirs.keys():
            assert abs(mine[name] - theirs[name]) <= 1, name
        first, third = (set(bundle["circuits"][i]["nodes"]) for i in (0, 2))
        assert (
            page.locator("#drawing .tw-shared").count()
            == page.locator("#beside .tw-shared").count()
            == len(first & third)
        )
        assert "2 tasks" not in page.locator("#beside-choice").inner_text()
        page.locator("#beside-choice").select_option("")
        assert page.locator("#drawing .tw-shared").count() == 0 and not page.locator("#beside").is_visible()


def test_the_verdict_stands_in_the_title_and_in_the_lists(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, _):
        assert page.locator("#verdict").inner_text() == "sufficient only"
        assert all("sufficient only" in words for words in page.locator("#beside-choice option").all_inner_texts()[1:])


def test_dead_ends_are_explained(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, _):
        page.locator("#drawing [data-node='1.attn.k:50']").click()
        assert "Its query is not in the circuit" in page.locator("#panel").inner_text()
        assert page.locator("#drawing .tw-lone").count() == 2  # q52 and k50, halves of different products


def test_why_a_head_attends_is_told_channel_by_channel(browser: Browser, path: Path, bundle: dict) -> None:
    scores = bundle["circuits"][0]["pairs"][0]["scores"]["1.3"]
    with opened(browser, path) as (page, _):
        tab(page, "Prompts")
        page.get_by_text("Why: the scores of token 7, clean prompt").click()
        rows = page.locator(".head-view table tbody tr").all()
        assert len(rows) == 7
        for key, row in enumerate(rows):
            *parts, score, share = (
                float(t.split("\u00a0")[0].replace("−", "-")) for t in row.locator("td").all_inner_texts()
            )
            expected = [
                scores["clean_query"][c][6] * scores["clean_key"][c][key] for c in range(len(scores["channels"]))
            ]
            assert score == pytest.approx(sum(expected) + scores["rest"], abs=0.01)
            assert sum(parts) == pytest.approx(score, abs=0.02) and 0 <= share <= 100


def test_stepping_through_sizes_keeps_the_nodes_that_matter(browser: Browser, path: Path, bundle: dict) -> None:
    steps, order = (bundle["circuits"][0]["ladder"][key] for key in ("steps", "order"))
    with opened(browser, path) as (page, _):
        page.locator("#ladder").fill("1")
        kept = page.locator("#drawing .tw-node:not(.tw-gone)").evaluate_all("ns => ns.map(n => n.dataset.node)")
        assert sorted(kept) == sorted(order[: steps[1]["k"]])
        assert f"{steps[1]['k']} nodes: loss {steps[1]['loss']:.3f}" in page.locator("#ladder-said").inner_text()


def test_verdicts_and_their_meaning(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, _):
        words = tab(page, "Tests")
        for told in ("Sufficient only", "✓ passed", "✗ failed", "– not run", "512 prompts", "50.3", "Must not fail."):
            assert told in words
        assert "holds on 2 of 3 shifts, not on byte strings" in words and "its 17 minimal edges" in words
        assert "own two tests, sufficiency and necessity: sufficient and necessary" in words
        assert "With caution: There are only 20 test pairs" in words
        page.get_by_text("What each verdict means").click()
        assert "the whole model does not do the task well" in page.locator("#panel").inner_text()


def test_a_node_is_told_over_all_pairs_and_in_the_whole_model(browser: Browser, path: Path, bundle: dict) -> None:
    entry = bundle["circuits"][0]
    with opened(browser, path) as (page, _):
        page.locator(f"#drawing [data-node='{V49}']").click()
        words = page.locator("#panel").inner_text()
        assert "14 in and 1,203 out in the whole model; 2 in and 3 out in the circuit" in words  # by QUOTE_EDGES
        assert "(512 prompts)" in words
        tab(page, "Prompts")
        table = page.locator("#panel section", has_text="Over all pairs").locator("table")
        assert table.locator("thead th").all_inner_texts() == ["Node", *(f"−{n}" for n in range(7, 0, -1)), "last"]
        assert table.locator("tbody tr").count() == entry["circuit"]["n_nodes"]
        table.get_by_role("button", name=V49).click()
        assert page.locator("#panel h2").inner_text() == V49


def test_a_circuit_stands_beside_those_of_other_requirements(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, _):
        words = tab(page, "Circuit")
        table = page.locator("#panel section", has_text="At each requirement").locator("tbody tr")
        assert [row.split() for row in table.all_inner_texts()] == [
            ["sufficient", "25", "20", "sufficient", "only"],
            ["faithful", "90", "1,234", "not", "verified", "(interchange", "not", "met)"],
        ]
        assert "the dashed one the whole model" in words


# --- notes, links, files --------------------------------------------------------------------------------------------


def test_a_link_opens_exactly_this_view(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, _):
        page.locator(f"#drawing [data-node='{V49}']").click()
        page.locator("#label").fill("copies <b>the quote</b>")
        page.locator("#pair").select_option("1")
        page.locator("#weight").fill("0.41")
        address = page.evaluate("location.hash")
        shown = edges_of(page)
    with opened(browser, path, hash_=address) as (page, _):
        assert edges_of(page) == shown
        assert page.locator("#panel h2").inner_text() == V49
        assert page.locator("#label").input_value() == "copies <b>the quote</b>"
        assert page.locator("#pair").input_value() == "1"
        assert page.locator("#drawing .tw-note").all_text_contents() == ["copies <b>the quote</b>"]
    assert "notes" in unquote(address)


def test_notes_are_saved_and_loaded(browser: Browser, path: Path, tmp_path: Path) -> None:
    with opened(browser, path) as (page, _):
        tab(page, "Notes")
        page.locator("#notes").fill("my notes </textarea>")
        with page.expect_download() as download:
            page.get_by_role("button", name="Save notes").click()
        saved = tmp_path / "notes.json"
        saved.write_bytes(Path(download.value.path()).read_bytes())
    with opened(browser, path) as (page, _):
        tab(page, "Notes")
        page.locator("#notes-file").set_input_files(saved)
        expect(page.locator("#notes")).to_have_value("my notes </textarea>")
        bad = tmp_path / "bad.json"
        bad.write_text("{")
        page.locator("#notes-file").set_input_files(bad)
        page.get_by_text("bad.json holds no notes").wait_for()


def test_drawing_circuit_and_graph_are_saved(browser: Browser, path: Path, bundle: dict) -> None:
    expected = json.loads(json.dumps(bundle["circuits"][0]))

    def saved(page: Page, name: str) -> bytes:
        page.locator("#save > summary").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        return Path(download.value.path()).read_bytes()

    with opened(browser, path) as (page, _):
        svg = saved(page, "Drawing as SVG").decode()
        assert svg.count('class="tw-edge') >= 20 and ".tw-drawing {" in svg and "translate(" in svg
        assert saved(page, "Drawing as PNG")[:8] == b"\x89PNG\r\n\x1a\n"
        assert json.loads(saved(page, "Circuit as JSON")) == expected["circuit"]
        assert json.loads(saved(page, "Graph for Neuronpedia")) == expected["graph"]


# --- keyboard, sizes, safety ----------------------------------------------------------------------------------------


def test_the_keyboard_alone_reaches_everything(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, _):
        assert page.locator("#drawing .tw-node[tabindex='0']").count() == 1  # one stop, arrows from there
        page.locator("#drawing .tw-node[tabindex='0']").focus()
        page.keyboard.press("ArrowRight")
        first = page.evaluate("document.activeElement.dataset.node")
        page.keyboard.press("ArrowUp")
        above = page.evaluate("document.activeElement.dataset.node")
        assert first.startswith("embed") and not above.startswith("embed")
        page.keyboard.press("Enter")
        assert page.locator("#panel h2").inner_text() == above
        page.locator("#tab-node").focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.id") == "tab-prompt"
        unnamed = page.locator("button, input, select, [role=button]").evaluate_all(
            "es => es.filter(e => e.checkVisibility() && !(e.textContent.trim() || e.getAttribute('aria-label') "
            "|| e.labels?.length)).map(e => e.outerHTML)"
        )
        assert unnamed == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_have_contrast(browser: Browser, path: Path, scheme: str) -> None:
    """WCAG AA: text against the page's ground at least 4.5 to 1."""
    with opened(browser, path, scheme=scheme) as (page, _):
        colours = page.evaluate(
            """() => { const style = getComputedStyle(document.documentElement);
            return Object.fromEntries(['--paper', '--ink', '--soft', '--link', '--positive', '--negative', '--good']
              .map(name => [name, style.getPropertyValue(name).trim()])); }"""
        )

    def light(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        rgb = bytes.fromhex(digits)
        parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    ground = light(colours.pop("--paper"))
    for name, colour in colours.items():
        a, b = sorted((light(colour), ground))
        assert (b + 0.05) / (a + 0.05) >= 4.5, name


def test_the_save_menu_opens_on_the_screen(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, _):
        for width in (1100, 1280, 1366, 1440, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            page.locator("#save > summary").click()
            box = page.locator("#save > div").bounding_box()
            assert box and box["x"] >= 0 and box["x"] + box["width"] <= width, width
            assert page.get_by_role("button", name="Drawing as SVG").is_visible()
            page.locator("#save > summary").click()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
def test_axe_finds_no_barrier(browser: Browser, path: Path, width: int, scheme: str) -> None:
    with opened(browser, path, width=width, scheme=scheme) as (page, _):
        assert barriers(page) == []
        page.locator(f"#drawing [data-node='{V49}']").click()
        for name in ("Node", "Prompts", "Tests", "Notes"):  # the drawing stays, but for what is lit
            tab(page, name)
            assert barriers(page, "#panel") == [], name


def test_on_a_phone_nodes_are_large_enough_to_press(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "wide.html"
    file.write_text(render_view(large_view(60, 80, 2, 256)), encoding="utf-8")
    with opened(browser, file, width=390) as (page, _):
        sizes = page.locator("#drawing .tw-hit").evaluate_all(
            "es => es.map(e => e.getBoundingClientRect()).map(b => [b.width, b.height])"
        )
        assert sizes and all(min(size) >= 23.9 for size in sizes)
        assert page.locator(".drag-hint").is_visible()


def test_the_drawing_is_on_the_first_screen_at_200_percent(browser: Browser, path: Path) -> None:
    with opened(browser, path, width=720) as (page, _):  # 1440 px at 200 %: 720 x 450
        box = page.locator("#drawing").bounding_box()
        assert box and box["y"] < 225


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_and_the_drawing_fits(browser: Browser, path: Path, width: int) -> None:
    with opened(browser, path, width=width) as (page, _):
        for name in ("Circuit", "Node", "Prompts", "Tests", "Notes"):
            tab(page, name)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        canvas, world = (page.locator(f"#drawing{part}").bounding_box() for part in ("", " .tw-world"))
        assert canvas and world
        assert world["x"] >= canvas["x"] - 1 and world["x"] + world["width"] <= canvas["x"] + canvas["width"] + 1
        assert world["y"] >= canvas["y"] - 1 and world["y"] + world["height"] <= canvas["y"] + canvas["height"] + 1


def test_zoom_pan_and_fit(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, _):
        where = "document.querySelector('#drawing .tw-world').getAttribute('transform')"
        page.get_by_role("button", name="Fit").click()
        fitted = page.evaluate(where)
        page.get_by_role("button", name="Zoom in").click()
        zoomed = page.evaluate(where)
        box = page.locator("#drawing").bounding_box()
        assert box
        page.mouse.move(box["x"] + 30, box["y"] + 30)
        page.mouse.down()
        page.mouse.move(box["x"] + 90, box["y"] + 60, steps=4)
        page.mouse.up()
        panned = page.evaluate(where)
        assert len({fitted, zoomed, panned}) == 3
        page.get_by_role("button", name="Fit").click()
        assert page.evaluate(where) == fitted


def test_it_works_in_a_sandboxed_frame(browser: Browser, view: View, tmp_path: Path) -> None:
    file = tmp_path / "notebook.html"
    file.write_text(f"<!doctype html><body>{sandboxed(render_view(view))}", encoding="utf-8")
    with opened(browser, file) as (page, watch):
        frame = page.frame_locator("iframe")
        frame.locator(f"[data-node='{V49}']").click()
        assert frame.locator("#panel h2").inner_text() == V49
        watch.requests[:] = [url for url in watch.requests if url != "about:srcdoc"]


def test_hostile_texts_do_not_run(browser: Browser, tmp_path: Path) -> None:
    view, words = quote_view(), "".join(HOSTILE)
    first = view.circuits[0]
    tokens = [words] * len(first.pairs[0].clean_tokens)
    pairs = [replace(pair, clean_tokens=tokens, corrupt_tokens=tokens) for pair in first.pairs]
    hostile = replace(first, circuit=replace(first.circuit, task=words), pairs=pairs, setting=words)
    view = replace(view, tokens=dict.fromkeys(view.tokens, words), circuits=[hostile, *view.circuits[1:]])
    file = tmp_path / "hostile.html"
    file.write_text(render_view(view), encoding="utf-8")
    notes = json.dumps({first.id: {"labels": {V49: "<img src=x onerror=alert(1)>"}, "text": words}})
    with opened(browser, file) as (page, _):
        page.on("dialog", lambda dialog: pytest.fail(f"ran: {dialog.message}"))
        page.evaluate("notes => { location.hash = '#' + new URLSearchParams({ notes }) }", notes)
        page.locator(f"#drawing [data-node='{V49}']").click()
        for name in ("Circuit", "Node", "Prompts", "Tests", "Notes"):
            tab(page, name)
            assert page.locator("img, #panel script, b").count() == 0


def test_a_large_circuit_starts_filtered_and_says_so(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "large.html"
    file.write_text(render_view(large_view(800, 6000)), encoding="utf-8")
    with opened(browser, file) as (page, _):
        said = page.locator("#shown").inner_text()
        assert said.startswith("Showing 1,500 of 6,000 edges") and "Hidden: 4,500 edges" in said
        page.locator("#weight").fill("0")
        said = page.locator("#shown").inner_text()
        assert "6,000 edges pass the thresholds; only the 3,000 strongest are drawn" in said
