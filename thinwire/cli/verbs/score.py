from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser, add_run
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import grid, table
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.workflows.score import Scores


def _arguments(parser: Parser, argv: list[str]) -> None:
    add_run(parser)
    parser.add_argument(
        "circuits", type=Path, help="Folder of circuits of that model: TASK.json files, or folders with a circuit.json."
    )
    parser.add_argument(
        "--target_loss",
        type=float | None,
        default=None,
        help="Loss that a circuit has to reach, nats, whatever its file says; without it, the paper's 0.15.",
    )


def _run(arguments: Namespace) -> "Scores":
    from thinwire.workflows.score import score_circuits

    return score_circuits(
        arguments.run,
        arguments.circuits,
        target_loss=arguments.target_loss,
        device=arguments.device,
        progress=RichProgress(),
    )


def show(console: Console, result: "Scores") -> None:
    """One row for each circuit; those that could not be measured stand below with the reason."""
    rows = [
        {"task": row.task, "solved": row.solved, "nodes": row.n_nodes, "edges": row.n_edges, "test loss": row.loss}
        | {"accuracy": row.accuracy, "the model does it": row.model_does, "loss without": row.loss_without}
        | {"needed": row.needed, "test pairs": row.n_test_pairs}
        for row in result.circuits
        if not row.reason
    ]
    size = "" if result.geomean_edges is None else f", {result.geomean_edges:.3g} edges in the geometric mean"
    console.print(table(f"{result.n_tasks_solved} of {result.n_tasks} tasks solved{size}", rows))
    console.print(f"solved: {result.solved_means}; target loss {result.target_loss:g}")
    console.print(f"needed: {result.needed_means}")
    console.print(grid([row.path, row.reason or ""] for row in result.circuits if row.reason))


def _exit_code(result: "Scores") -> int:
    """2 where a circuit could not be measured, whatever the others came to."""
    return 2 if any(row.reason for row in result.circuits) else 0


VERB = Verb(
    name="score",
    summary="Measure circuits that others found for the built-in tasks of a model, by test pairs alone.",
    usage="RUN CIRCUITS [options]",
    example="thinwire score headline circuits\nthinwire score headline circuits --target_loss 0.3 --json",
    add_arguments=_arguments,
    run=_run,
    show=show,
    exit_code=_exit_code,
)
