from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser
from thinwire.cli.tables import fields, plain, table
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.workflows.tasks import ShownTask


def _arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument("task", type=str, help="Name of a task (`thinwire tasks list`), or a .jsonl file of own pairs.")
    parser.add_argument("--pairs", type=int, default=3, help="Number of prompt pairs to show.")


def _run(arguments: Namespace) -> "ShownTask":
    from thinwire.workflows.tasks import show_task

    return show_task(arguments.task, arguments.pairs)


def show(console: Console, result: "ShownTask") -> None:
    """The task's fields, then its prompt pairs."""
    rest = {name: value for name, value in plain(result).items() if name not in ("alternatives", "pairs")}
    rest["answers"] = "  or  ".join(f"{a.answer!r} / {a.other!r}" for a in result.alternatives)
    console.print(fields(rest))
    rows = [
        {"split": split} | {name: repr(value) for name, value in plain(pair).items()}
        for split, pairs in result.pairs.items()
        for pair in pairs
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
