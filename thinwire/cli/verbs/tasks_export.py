from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser
from thinwire.cli.tables import table
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.workflows.tasks_export import ExportedTasks


def _arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument("tasks", type=str, nargs="*", default=[], help="Names of tasks; without any, all of them.")
    parser.add_argument("--out", type=Path, required=True, help="New directory for the files.")


def _run(arguments: Namespace) -> "ExportedTasks":
    from thinwire.workflows.tasks_export import export_tasks

    return export_tasks(arguments.out, arguments.tasks)


def show(console: Console, result: "ExportedTasks") -> None:
    """One row per task."""
    rows = [{"task": task.name, "files": len(task.files), "pairs": sum(task.files.values())} for task in result.tasks]
    console.print(table(result.out, rows))


VERB = Verb(
    name="tasks export",
    summary="Write tasks as files: prompts, answers, splits and shifts, one pair a line.",
    usage="[TASK ...] --out DIR",
    example="thinwire tasks export single_double_quote --out tasks",
    add_arguments=_arguments,
    run=_run,
    show=show,
)
