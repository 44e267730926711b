"""Cells, rows and tables. Every number keeps its exact value in a `<data>` element."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from thinwire.viewer.markup import Markup, tag
from thinwire.viewer.wording import Number, datum


def number(value: Number | None, form: Callable[[Any], str], **attributes: object) -> Markup:
    """A cell with a number, or a dash where there is none."""
    shown = tag("span", "–", aria_label="not measured", role="img") if value is None else datum(value, form(value))
    return tag("td", shown, class_="number", **attributes)


def scrolling(table: Markup, label: str) -> Markup:
    """A table in a box of its own that scrolls sideways where the screen is narrow."""
    return tag("div", table, class_="scrolling", role="region", aria_label=label, tabindex=0)


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Markup]], words: Sequence[str] = ()) -> Markup:
    """A plain table; columns are aligned right but for the first one and those named in `words`."""
    cells = [
        tag("th", name, scope="col", class_="number" if i and name not in words else None)
        if name
        else tag("td")
        for i, name in enumerate(head)
    ]  # fmt: skip
    body = tag("tbody", *(tag("tr", *row) for row in rows))
    return scrolling(tag("table", tag("caption", caption), tag("thead", tag("tr", *cells)), body), caption)


def row_head(words: object) -> Markup:
    return tag("th", words, scope="row")


def facts(values: Mapping[str, Any]) -> Markup:
    """Names and values as a definition list; a mapping among the values is told entry by entry."""
    flat: list[tuple[str, Any]] = []
    for key, value in values.items():
        inner = value.items() if isinstance(value, Mapping) else [("", value)]
        flat += [(f"{key} {name}".strip(), told) for name, told in inner]
    entries = (tag("div", tag("dt", name.replace("_", " ")), tag("dd", str(told))) for name, told in flat)
    return tag("dl", *entries, class_="facts")
