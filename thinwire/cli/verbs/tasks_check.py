from typing import Any

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser, add_run
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import Result, grid, table
from thinwire.cli.verb import Verb


def _arguments(parser: Parser, argv: list[str]) -> None:
    add_run(parser)
    parser.add_argument(
        "--task",
        type=str,
        nargs="+",
        default=[],
        help="Names of tasks or .jsonl files of own pairs; without it, all built-in tasks.",
    )


def _run(arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.tasks import check_tasks

    return check_tasks(arguments.run, arguments.task, device=arguments.device, progress=RichProgress())


def show(console: Console, result: Result) -> None:
    """One row for each task; why a task is unavailable stands below the table."""
    rows = []
    for row in result["tasks"]:
        shown = {name: value for name, value in row.items() if name != "reason"}
        rows.append(shown | {"answers": row["answers"] and " ".join(map(repr, row["answers"]))})
    console.print(table(f"whole model on {result['split']} pairs; solved: {result['solved_means']}", rows))
    console.print(grid([row["name"], row["reason"]] for row in result["tasks"] if row["reason"]))


VERB = Verb(
    name="tasks check",
    summary="Measure which tasks a model solves, before any pruning.",
    usage="RUN [--task TASK ...] [options]",
    example="thinwire tasks check runs/demo/sparse\n"
    "thinwire tasks check runs/demo/sparse --task single_double_quote my_pairs.jsonl",
    add_arguments=_arguments,
    run=_run,
    show=show,
)
