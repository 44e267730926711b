"""Numbers in words: one table of examples, to which Python is held here and the scripts of the pages in a browser."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from thinwire.viewer.constants import LINE_WIDTHS, THINNEST, as_script, widest
from thinwire.viewer.markup import static, visible
from thinwire.viewer.wording import count, listing, loss, percent, plural, ratio, seconds, short_count, signed

EXAMPLES: dict[str, list[tuple[Any, str]]] = json.loads((Path(__file__).parent / "formats.json").read_text("utf-8"))
PYTHON: dict[str, Callable[[Any], str]] = {
    "signed": signed, "loss": loss, "percent": percent, "count": count, "edges": lambda n: plural(n, "edge"),
}  # fmt: skip
SCRIPT = {"signed": "signed", "loss": "nats", "percent": "percent", "count": "thousands", "edges": "edges"}
RANDOM = {
    "signed": lambda rng: rng.choice((-1, 1)) * 10 ** rng.uniform(-7, 3),
    "loss": lambda rng: 10 ** rng.uniform(-6, 2),
    "percent": lambda rng: rng.random() ** 3,
    "count": lambda rng: rng.randrange(10**7),
    "edges": lambda rng: rng.randrange(10**5),
}
TOKENS = [" a", "\n", "\t", "\u2028", "caf\u00e9 \u03bb", "\u202egnp", "\U0001f600 x", "\x07", "\ud800"]


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """A page whose script is words.js alone, its functions within reach."""
    page = browser.new_page()
    names = "{ signed, nats, percent, thousands, visible, edges: (n) => plural(n, 'edge') }"
    page.set_content("<!doctype html>")
    page.add_script_tag(content=f"window.said = (() => {{ {as_script()} {static('words.js')} return {names}; }})();")
    yield page
    page.close()


@pytest.mark.parametrize("name", EXAMPLES)
def test_python_says_what_the_table_says(name: str) -> None:
    assert [(value, PYTHON[name](value)) for value, _ in EXAMPLES[name]] == [tuple(row) for row in EXAMPLES[name]]


@pytest.mark.parametrize("name", EXAMPLES)
def test_scripts_say_what_the_table_says(page: Page, name: str) -> None:
    values = [value for value, _ in EXAMPLES[name]]
    said = page.evaluate(f"values => values.map(window.said.{SCRIPT[name]})", values)
    assert list(zip(values, said, strict=True)) == [tuple(row) for row in EXAMPLES[name]]


@pytest.mark.parametrize("name", EXAMPLES)
def test_both_say_the_same_of_any_number(page: Page, name: str) -> None:
    rng = random.Random(0)
    values = [RANDOM[name](rng) for _ in range(2000)]
    values += [k / 64 for k in range(1, 64)] if name in ("signed", "loss", "percent") else []  # halves of a digit
    said = page.evaluate(f"values => values.map(window.said.{SCRIPT[name]})", values)
    assert [(v, PYTHON[name](v)) for v in values] == list(zip(values, said, strict=True))


def test_tokens_are_shown_alike(page: Page) -> None:
    # A lone surrogate cannot be sent as text to a browser: it is written there.
    plain = [token for token in TOKENS if token != "\ud800"]
    assert page.evaluate("tokens => tokens.map(window.said.visible)", plain) == [visible(token) for token in plain]
    assert page.evaluate("window.said.visible('\\ud800')") == visible("\ud800") == "\\ud800"


def test_lines_are_thinner_where_there_are_many() -> None:
    assert [widest(n) for n in (1, 60, 61, 150, 151, 10**6)] == [6.0, 6.0, 4.0, 4.0, 3.0, 3.0]
    assert all(width > THINNEST for _, width in LINE_WIDTHS)
    table = json.loads(as_script().removeprefix("const CONSTANTS = ").removesuffix(";\n"))
    assert [width for _, width in table["lineWidths"]] == [width for _, width in LINE_WIDTHS]


def test_numbers_that_only_python_says() -> None:
    assert short_count(4_520_000) == "4.52M"
    assert (ratio(12.3456), ratio(1.234), ratio(123.4)) == ("12.3", "1.23", "123")
    assert (seconds(48.2), seconds(185)) == ("48 s", "3 min 05 s")
    assert listing(["a", "b", "c"]) == "a, b and c"
