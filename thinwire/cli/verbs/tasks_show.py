from typing import Any

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser
from thinwire.cli.tables import Result, fields, table
from thinwire.cli.verb import Verb


def _arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument("task", type=str, help="Name of a task (`thinwire tasks list`), or a .jsonl file of own pairs.")
    parser.add_argument("--pairs", type=int, default=3, help="Number of prompt pairs to show.")


def _run(arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.tasks import show_task

    return show_task(arguments.task, arguments.pairs)


def show(console: Console, result: Result) -> None:
    """The task's fields, then its prompt pairs."""
    rest = dict(result)
    pairs = rest.pop("pairs")
    alternatives = rest.pop("alternatives")
    rest["answers"] = "  or  ".join(f"{a['answer']!r} / {a['other']!r}" for a in alternatives)
    console.print(fields(rest))
    rows = [
        {"split": split} | {k: repr(v) for k, v in pair.items()} for split, found in pairs.items() for pair in found
    ]
    console.print(table("pairs", rows))


VERB = Verb(
    name="tasks show",
    summary="Show prompt pairs of one task.",
    usage="TASK [--pairs N]",
    example="thinwire tasks show single_double_quote --pairs 5",
    add_arguments=_arguments,
    run=_run,
    show=show,
)
