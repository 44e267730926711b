"""Activations over the tokens of a prompt as small bars, and attention patterns as squares."""

from collections.abc import Sequence

from thinwire.viewer.markup import Markup, join, tag, visible
from thinwire.viewer.wording import Number, signed

_BAR, _HALF = 9.0, 13.0


def _bars(values: Sequence[Number], largest: Number, positive: bool) -> str:
    path, direction = [], "-" if positive else ""
    for i, value in enumerate(values):
        height = _HALF * abs(value) / largest
        if (value > 0) == positive and height >= 0.25:
            path.append(f"M{i * _BAR + 1:.0f} {_HALF:.0f}v{direction}{height:.1f}h{_BAR - 2:.0f}V{_HALF:.0f}z")
    return "".join(path)


def bar_strip(values: Sequence[Number], tokens: Sequence[str], largest: Number) -> Markup:
    """One bar for each token: up and blue for positive, down and rust for negative; `largest` is full height."""
    largest = largest or 1.0
    words = join((f"{visible(text)} {signed(value)}" for text, value in zip(tokens, values, strict=True)), "  ")
    width = f"{_BAR * len(values):.0f}"
    return tag(
        "svg",
        tag("title", words),
        tag("line", class_="zero", x1=0, x2=width, y1=f"{_HALF:.0f}", y2=f"{_HALF:.0f}"),
        tag("path", class_="up", d=_bars(values, largest, True)),
        tag("path", class_="down", d=_bars(values, largest, False)),
        class_="strip", role="img", width=width, height=f"{2 * _HALF:.0f}", viewBox=f"0 0 {width} {2 * _HALF:.0f}",
    )  # fmt: skip


def attention_row(weights: Sequence[Number], tokens: Sequence[str]) -> Markup:
    """What one query attends to: each token on a ground as dark as its share, shares of 5 % and more in numbers."""
    chips = []
    for weight, text in zip(weights, tokens, strict=True):
        level = min(int(weight * 10 + 0.5), 10)
        share = tag("span", f"{100 * weight:.0f}%" if weight >= 0.05 else "", class_="share")
        chips.append(tag("span", tag("code", visible(text)), share, class_=f"looked level-{level}"))
    return tag("span", *chips, class_="tokens")


def _cells(pattern: Sequence[Sequence[Number]], size: int) -> list[Markup]:
    """One path for each of twenty shades, so that a long prompt's pattern stays small."""
    shades: dict[int, list[str]] = {}
    for query, row in enumerate(pattern):
        for key, weight in enumerate(row[: query + 1]):
            if shade := round(20 * weight):
                cell = f"M{key * size} {query * size}h{size - 1}v{size - 1}h{1 - size}z"
                shades.setdefault(shade, []).append(cell)
    return [tag("path", d="".join(cells), fill_opacity=f"{shade / 20:g}") for shade, cells in sorted(shades.items())]


def attention_map(pattern: Sequence[Sequence[Number]], tokens: Sequence[str], title: str) -> Markup:
    """A pattern as a lower triangle of squares: a row for each query token, a column for each key token."""
    n, size = len(tokens), 14
    left = 8.0 + 6.6 * max((len(visible(text)) for text in tokens), default=1)
    rows = [
        tag("text", visible(text), x=f"{-6:.0f}", y=f"{i * size + 10:.0f}", class_="end")
        for i, text in enumerate(tokens)
    ]  # fmt: skip
    side = n * size
    frame = tag("path", d=f"M0 0V{side}H{side}z", class_="triangle")
    body = tag("g", frame, *_cells(pattern, size), *rows, transform=f"translate({left:.0f} 2)")
    width, height = f"{left + side + 4:.0f}", f"{side + 6:.0f}"
    return tag(
        "svg", tag("title", title), body, class_="attention-map", role="img", width=width, height=height,
        viewBox=f"0 0 {width} {height}",
    )  # fmt: skip
