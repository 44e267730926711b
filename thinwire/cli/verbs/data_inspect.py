from dataclasses import replace

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser, add_config
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import plain, table
from thinwire.cli.verb import Verb
from thinwire.data.config import DataConfig
from thinwire.errors import UserError
from thinwire.training.recipes import recipe
from thinwire.workflows.data import Inspected, TaskRates

CLEAR = 0.95
"""Share of right answers from which on it is not printed."""


def _arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument(
        "sources", nargs="*", default=[], help="Sources as --source takes them, each with =SHARE or all without."
    )
    parser.add_argument("--recipe", type=str, default="", help="Inspect what this recipe learns from.")
    add_config(parser, DataConfig())


def _run(arguments: Namespace) -> Inspected:
    from thinwire.workflows.data import inspect

    if arguments.recipe and arguments.sources:
        raise UserError("a recipe has its own sources; give --recipe or sources")
    config = recipe(arguments.recipe).data if arguments.recipe else arguments.settings
    if arguments.sources:
        config = replace(config, source=tuple(arguments.sources))
    return inspect(config, RichProgress())


def show(console: Console, result: Inspected) -> None:
    """What each source holds; then a row for each task and a column for each source."""
    console.print(table("sources", plain(result.sources)))
    rows: dict[str, dict[str, str]] = {}
    for row in result.tasks:
        rows.setdefault(row.task, {"task": row.task})[row.source] = _cell(row)
    title = "places per MB of training text that go on with a task's right answer, clean / corrupt"
    console.print(table(f"{title} (share of right answers, where below 95 %)", list(rows.values())))


def _cell(row: TaskRates) -> str:
    cells = []
    for right, wrong in ((row.clean, row.clean_wrong), (row.corrupt, row.corrupt_wrong)):
        share = right / (right + wrong) if right + wrong else 1.0
        cells.append(f"{right:.3g}" + (f" ({share:.0%})" if share < CLEAR else ""))
    return " / ".join(cells)


VERB = Verb(
    name="data inspect",
    summary="Measure what text sources hold: sizes, what is left out, and how much of each task they show.",
    usage="[SOURCE[=SHARE] ...] [options]",
    example="thinwire data inspect stdlib stdlib-tests installed:sympy,networkx\n"
    "thinwire data inspect stdlib=0.5 installed:sympy=0.5 --json\n"
    "thinwire data inspect my/notes --suffixes .txt",
    add_arguments=_arguments,
    run=_run,
    show=show,
)
