from collections.abc import Sequence
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console
from rich.text import Text

from thinwire.cli.tables import grid
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.workflows.doctor import Checkup

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def _run(arguments: Namespace) -> "Checkup":
    from thinwire.workflows.doctor import doctor

    return doctor()


def show(console: Console, result: "Checkup") -> None:
    """One line for each check, its remedy below it."""
    lines: list[Sequence[str | Text]] = []
    for check in result.checks:
        lines.append([Text(check.status, style=COLOURS[check.status]), check.name, check.detail])
        if check.remedy:
            lines.append(["", "", Text(check.remedy, style="bold")])
    console.print(grid(lines))


def _exit_code(result: "Checkup") -> int:
    return 0 if result.ok else 2


VERB = Verb(
    name="doctor",
    summary="Check this machine: versions, compiler, threads, memory, disk, devices.",
    usage="[--json]",
    example="thinwire doctor",
    run=_run,
    show=show,
    exit_code=_exit_code,
)
