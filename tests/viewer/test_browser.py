"""Real pages in a real browser: what is clicked lights up, what is shown is what was measured, nothing leaves."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import barriers, opened
from playwright.sync_api import Browser, Page
from report_fixture import QUOTE_EDGES, make_report
from test_report_page import hostile_report, single
from test_viewer_markup import HOSTILE

from thinwire.viewer.contract import Report
from thinwire.viewer.report import render_report, report_data
from thinwire.viewer.wording import count


@pytest.fixture(scope="module")
def report() -> Report:
    return make_report()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, report: Report) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(render_report(report), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def desk(browser: Browser, path: Path) -> Iterator[Page]:
    """The report, opened once."""
    with opened(browser, path) as (page, _):
        yield page


@pytest.fixture
def page(desk: Page) -> Page:
    """The open report at its beginning, with nothing picked."""
    desk.set_viewport_size({"width": 1280, "height": 900})
    desk.keyboard.press("Escape")
    desk.evaluate("scrollTo(0, 0)")
    return desk


# --- the report -----------------------------------------------------------------------------------------------------


def test_the_table_shows_the_numbers_of_the_circuits(page: Page, report: Report) -> None:
    shown = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll('#main-table tbody')].map(
        body => [body.dataset.task, Object.fromEntries([...body.rows].map(row => [row.className,
        [...row.querySelectorAll('td > data')].map(d => [Number(d.value), d.textContent])]))]))"""
    )
    for task in report.tasks:
        for side, part in task.models.items():
            numbers, test = shown[task.name][side], part.circuit.scores["test"]
            assert part.judgement
            expected = [part.circuit.n_nodes, part.circuit.n_edges, test.loss, test.accuracy, test.kl]
            assert [value for value, _ in numbers[:5]] == expected
            assert numbers[1][1] == count(part.circuit.n_edges)


def test_the_table_sorts_by_a_click(page: Page, report: Report) -> None:
    edges = {task.name: task.models["sparse"].circuit.n_edges for task in report.tasks}
    names = "[...document.querySelectorAll('#main-table tbody')].map(body => body.dataset.task)"
    button = page.get_by_role("button", name="Edges")
    button.click()
    assert page.evaluate(names) == sorted(edges, key=lambda name: edges[name])
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    button.press("Enter")
    assert page.evaluate(names) == sorted(edges, key=lambda name: -edges[name])


def test_picking_a_node_lights_its_edges_and_tells_its_weights(page: Page) -> None:
    figure = page.locator("figure.circuit[data-task=single_double_quote][data-side=sparse]")
    figure.locator("[data-node='0.mlp.neuron:412']").click()
    page.mouse.move(0, 0)  # what the pointer is over is lit too
    lit = figure.locator(".tw-edge.tw-on").evaluate_all("es => es.map(e => [e.dataset.source, e.dataset.target])")
    key = "0.mlp.neuron:412"
    expected = [[f"{a}:{s}", f"{b}:{t}"] for a, s, b, t, _ in QUOTE_EDGES if key in (f"{a}:{s}", f"{b}:{t}")]
    assert sorted(lit) == sorted(expected)
    told = figure.locator(".inspector").inner_text()
    assert "0.mlp.in:41 +1.84" in told
    assert "0.mlp.out:203 +0.58" in told
    page.keyboard.press("Escape")
    assert figure.locator(".tw-edge.tw-on").count() == 0


def test_a_step_lights_the_nodes_it_speaks_of(page: Page) -> None:
    step = page.locator(".reading .steps").get_by_role("button", name="Layer 1, attention")
    step.click()
    assert step.get_attribute("aria-pressed") == "true"
    figure = page.locator("figure.circuit").first
    lit = figure.locator(".tw-edge.tw-on").evaluate_all("es => es.map(e => e.dataset.source)")
    assert lit and all(key.startswith("1.attn") for key in lit)


def test_nodes_can_be_reached_and_opened_by_keyboard(page: Page) -> None:
    node = page.locator("figure.circuit [data-node='1.attn.v:49']").first
    node.focus()
    page.keyboard.press("Enter")
    assert page.locator(".inspector:visible strong").inner_text() == "1.attn.v:49"
    assert node.get_attribute("role") == "button"


def test_a_link_to_a_folded_task_opens_it(page: Page) -> None:
    page.locator("#main-table a", has_text="else_elif").click()
    assert page.locator("#task-else_elif").evaluate("fold => fold.open")


def test_the_saved_json_is_the_pages_data(page: Page, report: Report) -> None:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the numbers as JSON").click()
    saved = json.loads(Path(download.value.path()).read_text())
    assert saved == json.loads(json.dumps(report_data(report)))


def test_the_page_is_whole_without_javascript(browser: Browser, path: Path) -> None:
    with opened(browser, path, script=False) as (page, _):
        assert page.locator("figure.circuit svg").first.is_visible()
        assert page.locator("#main-table").is_visible()


def test_nothing_sticks_out_sideways(page: Page) -> None:
    for width in (390, 720, 1100, 1280, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_axe_finds_no_barrier(browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    """On two small circuits: axe looks at every element, and a dense circuit has thousands of one kind."""
    path = tmp_path / "report.html"
    path.write_text(render_report(single(make_report(n_tasks=2))), encoding="utf-8")
    with opened(browser, path, width=width, scheme=scheme) as (page, _):
        page.locator("figure.circuit [data-node]").first.click()
        page.locator("details.task > summary").first.click()
        assert barriers(page) == []


def test_everything_stands_on_one_left_edge(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    left = page.evaluate(
        """() => [...document.querySelectorAll('main .grid > *, main .grid > .wide > *, main .prose > *')]
        .filter(e => e.checkVisibility() && !e.matches('.unseen, .skip') && !e.closest('.beside, .two'))
        .filter(e => !e.parentElement.matches('.charts'))  // which stand in two columns
        .map(e => Math.round(e.getBoundingClientRect().left))"""
    )
    assert len(set(left)) == 1


def test_the_first_screen_has_the_verdict(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    marks = page.locator(".verdict-badge, .verdict-line")
    boxes = [marks.nth(i).bounding_box() for i in range(3)]
    assert all(box and box["y"] + box["height"] < 900 for box in boxes)


def test_no_hostile_token_runs(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "hostile.html"
    file.write_text(render_report(hostile_report("".join(HOSTILE))), encoding="utf-8")
    with opened(browser, file) as (page, _):
        page.on("dialog", lambda dialog: pytest.fail(f"ran: {dialog.message}"))
        page.locator("figure.circuit [data-node]").first.click()
        assert page.locator(".inspector:visible").count() == 1
        assert page.locator("img").count() == 0
