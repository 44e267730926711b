from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser, add_run, add_tasks, tasks_of
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import grid, table
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.workflows.tasks import TaskChecks


def _arguments(parser: Parser, argv: list[str]) -> None:
    add_run(parser)
    add_tasks(parser, "Names of tasks or .jsonl files of own pairs; without any, all built-in tasks.")


def _run(arguments: Namespace) -> "TaskChecks":
    from thinwire.workflows.tasks import check_tasks

    return check_tasks(arguments.run, tasks_of(arguments), device=arguments.device, progress=RichProgress())


def show(console: Console, result: "TaskChecks") -> None:
    """One row for each task that could be asked; the others stand below with the reason."""
    asked = sorted((t for t in result.tasks if not t.reason), key=lambda t: not t.model_does)
    rows = [
        {"task": t.name, "the model does it": t.model_does, "accuracy": t.accuracy, "loss": t.loss, "pairs": t.n_pairs}
        | {"answers": " ".join(map(repr, t.answers or ())), "aligned": t.aligned}
        for t in asked
    ]
    n_done = sum(t.model_does for t in asked)
    done = f"it does {n_done} of {len(asked)} tasks ({result.does_means})"
    console.print(table(f"whole model on {result.split} pairs: {done}", rows))
    console.print(grid([t.name, t.reason or ""] for t in result.tasks if t.reason))


def _exit_code(result: "TaskChecks") -> int:
    """2 where a task was refused: its name or file is wrong, whatever the others came to."""
    return 2 if any(t.refused for t in result.tasks) else 0


VERB = Verb(
    name="tasks check",
    summary="Measure which tasks a model does, before any pruning.",
    usage="RUN [TASK ...] [options]",
    example="thinwire tasks check runs/demo/sparse\n"
    "thinwire tasks check runs/demo/sparse single_double_quote my_pairs.jsonl",
    add_arguments=_arguments,
    run=_run,
    show=show,
    exit_code=_exit_code,
)
