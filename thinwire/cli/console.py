"""What a person sees while a verb works: progress on stderr; and how single values are written."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from thinwire.progress import Advance

DAY = 86_400.0
YEAR = 365.25 * DAY


def announce(words: str) -> None:
    """One line on stderr while a verb goes on, such as the address of a live page."""
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(words)


class RichProgress:
    """The `Progress` of the command line: bars with rate and time left, or a line now and then.

    Bars are drawn when the console is a terminal. Otherwise one line is written every
    `interval` seconds and one at the end of each task, so that a log stays readable.
    Tasks may nest; nested bars are shown below one another.
    """

    def __init__(self, console: Console | None = None, interval: float = 15.0) -> None:
        self._console = console or Console(stderr=True, soft_wrap=True)
        self._interval = interval
        self._bars: Progress | None = None

    @contextmanager
    def __call__(self, title: str, total: int, unit: str = "step") -> Iterator[Advance]:
        show = self._bar if self._console.is_terminal else self._lines
        with show(title, total, unit) as advance:
            yield advance

    @contextmanager
    def _bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        outermost = self._bars is None
        bars = self._bars = self._bars or _new_bars(self._console)
        if outermost:
            bars.start()
        task = bars.add_task(title, total=total, unit=unit, shown="")
        latest: dict[str, Any] = {}

        def advance(steps: int = 1, **shown: float | int | str) -> None:
            latest.update(shown)
            bars.update(task, advance=steps, shown=_shown(latest))

        try:
            yield advance
        finally:
            bars.stop_task(task)
            if outermost:
                bars.stop()
                self._bars = None

    @contextmanager
    def _lines(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        start = last = time.monotonic()
        done = done_before = 0
        latest: dict[str, Any] = {}

        def write(text: str) -> None:
            self._console.print(Text(f"{title}  {text}  {_shown(latest)}".rstrip()))

        def advance(steps: int = 1, **shown: float | int | str) -> None:
            nonlocal done, done_before, last
            done += steps
            latest.update(shown)
            now = time.monotonic()
            if now - last < self._interval or done >= total:
                return
            rate = (done - done_before) / (now - last)
            left = f"  {duration((total - done) / rate)} left" if rate else ""
            write(f"{done:,} of {total:,} {unit}s  {quantity(rate)} {unit}s/s{left}")
            last, done_before = now, done

        yield advance
        write(f"{done:,} {unit}s in {duration(time.monotonic() - start)}")


class _Count(ProgressColumn):
    """Units done and their rate."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        speed = f"  {quantity(rate)} {task.fields['unit']}s/s" if rate else ""
        return Text(f"{quantity(task.completed)}/{quantity(task.total or 0)}{speed}", style="progress.data.speed")


def _new_bars(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        _Count(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[shown]}", style="dim", markup=False),
    )
    return Progress(*columns, console=console, refresh_per_second=4)


def _shown(values: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {value_text(value)}" for name, value in values.items())


def quantity(value: float) -> str:
    """About three digits with a suffix: 3.14, 999, 12.3k, 4.5M."""
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= max(unit, 1e4):
            return f"{value / unit:.3g}{suffix}"
    return f"{value:.0f}" if value >= 100 or float(value).is_integer() else f"{value:.3g}"


def duration(seconds: float) -> str:
    """0.8s, 42s, 2:05, 1:02:03, 3.4 days, 9.3 years."""
    if seconds >= 2 * DAY:
        return f"{seconds / YEAR:,.1f} years" if seconds >= YEAR else f"{seconds / DAY:.1f} days"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def value_text(value: Any, name: str = "") -> str:
    """One cell: a dash for None, four digits for floats, units by the field's name (`seconds`, `*_bytes`)."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and name.split("_")[-1] == "bytes":
        return f"{value / (1 << 30):,.1f} GiB" if value >= 10 << 30 else f"{value / (1 << 20):,.1f} MiB"
    if isinstance(value, int | float) and name == "seconds":
        return duration(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return "  ".join(f"{key} {value_text(part, key)}" for key, part in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(value_text(part) for part in value)
    return str(value) if str(value).isprintable() else repr(value)
