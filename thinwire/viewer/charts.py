"""Line charts as SVG: axes, ticks, a legend, nothing else."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thinwire.viewer.markup import Markup, tag
from thinwire.viewer.wording import Number, short_count

_WIDTH, _HEIGHT = 460.0, 270.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 30.0, 42.0


@dataclass(frozen=True)
class Series:
    """A line; `kind` (sparse, dense) is its class in the style sheet, `marks` are drawn as points."""

    name: str
    kind: str
    points: Sequence[tuple[Number, Number]]
    marks: Sequence[tuple[Number, Number]] = ()


@dataclass(frozen=True)
class Axis:
    """A scale from values to pixels, linear or logarithmic."""

    label: str
    low: Number
    high: Number
    start: Number
    end: Number
    log: bool = False

    def at(self, value: Number) -> float:
        """Pixel of a value; values outside stand on the border."""
        low, high = self.low, self.high
        value = min(max(value, low), high)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[Number]:
        """Round values within the range, about five."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if len(decades) <= 4 else (1,)
            values = [10.0**decade * step for decade in decades for step in steps]
            return [value for value in values if self.low * 0.999 <= value <= self.high * 1.001]
        step = _round_step((self.high - self.low) / 5)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * i for i in range(first, last + 1)]


def _round_step(raw: float) -> float:
    unit = 10.0 ** math.floor(math.log10(raw))
    return next((unit * factor for factor in (1, 2, 5) if unit * factor >= raw * 0.999), unit * 10)


def _extent(values: Sequence[Number], log: bool, from_zero: bool) -> tuple[Number, Number]:
    if log:
        values = [max(value, 1e-4) for value in values]
    low, high = min(values, default=1e-1 if log else 0.0), max(values, default=1.0)
    if from_zero and not log:
        low = min(low, 0.0)
    if low == high:
        return (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    return low, high


def _polyline(points: Sequence[tuple[Number, Number]], x: Axis, y: Axis) -> str:
    return " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in points)


def _tick_text(value: Number) -> str:
    return short_count(value) if value else "0"


def _axes(x: Axis, y: Axis) -> Markup:
    parts = []
    for value in y.ticks():
        at = f"{y.at(value):.1f}"
        parts.append(tag("line", class_="grid", x1=x.start, x2=x.end, y1=at, y2=at))
        parts.append(tag("text", _tick_text(value), class_="tick end", x=x.start - 6, y=f"{y.at(value) + 4:.1f}"))
    for value in x.ticks():
        at = f"{x.at(value):.1f}"
        parts.append(tag("line", class_="tick-mark", x1=at, x2=at, y1=y.start, y2=y.start + 4))
        parts.append(tag("text", _tick_text(value), class_="tick middle", x=at, y=y.start + 17))
    parts.append(tag("line", class_="axis", x1=x.start, x2=x.end, y1=y.start, y2=y.start))
    parts.append(tag("text", x.label, class_="label middle", x=(x.start + x.end) / 2, y=y.start + 35))
    parts.append(tag("text", y.label, class_="label", x=4, y=13))
    return tag("g", *parts, aria_hidden="true")


def _legend(series: Sequence[Series], right: float) -> Markup:
    parts, x = [], right
    for line in reversed(series):
        x -= 6.6 * len(line.name)
        parts.append(tag("text", line.name, class_="label", x=f"{x:.0f}", y=13))
        parts.append(tag("line", class_=f"line {line.kind}", x1=f"{x - 28:.0f}", x2=f"{x - 6:.0f}", y1=9, y2=9))
        x -= 44
    return tag("g", *parts)


def line_chart(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    title: str,
    log_x: bool = False,
    log_y: bool = False,
    target: Number | None = None,
    from_zero: bool = True,
    mark_text: Callable[[Series, Number, Number], str] | None = None,
) -> Markup:
    """A chart of a few lines. `target` is a horizontal line; `mark_text` is the tooltip of a marked point."""
    points = [point for line in series for point in (*line.points, *line.marks)]
    heights = [b for _, b in points] + ([target] if target is not None else [])
    x = Axis(x_label, *_extent([a for a, _ in points], log_x, True), _LEFT, _WIDTH - _RIGHT, log_x)
    y = Axis(y_label, *_extent(heights, log_y, from_zero), _HEIGHT - _BOTTOM, _TOP, log_y)
    drawn = []
    if target is not None:
        at = f"{y.at(target):.1f}"
        drawn.append(tag("line", class_="target", x1=x.start, x2=x.end, y1=at, y2=at))
        drawn.append(tag("text", f"target {target:g}", class_="tick end", x=x.end, y=f"{y.at(target) - 5:.1f}"))
    for line in series:
        drawn.append(tag("polyline", class_=f"line {line.kind}", points=_polyline(line.points, x, y)))
        for a, b in line.marks:
            words = mark_text(line, a, b) if mark_text else f"{line.name}: {b:.3f}"
            spot = {"cx": f"{x.at(a):.1f}", "cy": f"{y.at(b):.1f}", "r": 3.6}
            drawn.append(tag("circle", tag("title", words), class_=f"mark {line.kind}", **spot))
    return tag(
        "svg", tag("title", title), _axes(x, y), *drawn, _legend(series, x.end), class_="chart", role="img",
        viewBox=f"0 0 {_WIDTH:.0f} {_HEIGHT:.0f}",
    )  # fmt: skip
