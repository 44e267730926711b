from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser, add_run, add_where
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import grid, show_any, table
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.workflows.evaluate import Evaluation, MeasuredCircuit, MeasuredCircuits


def _arguments(parser: Parser, argv: list[str]) -> None:
    add_run(parser)
    parser.add_argument(
        "--circuits",
        type=Path,
        nargs="*",
        default=None,
        help="Measure stored circuits again instead: these directories, or without any all of the run.",
    )
    add_where(parser)


def _run(arguments: Namespace) -> "Evaluation | MeasuredCircuits":
    from thinwire.workflows.evaluate import evaluate, evaluate_circuits

    if arguments.circuits is None and not arguments.where:
        return evaluate(arguments.run, device=arguments.device, progress=RichProgress())
    return evaluate_circuits(
        arguments.run,
        arguments.circuits or (),
        where=arguments.where,
        device=arguments.device,
        progress=RichProgress(),
    )


def show(console: Console, result: "Evaluation | MeasuredCircuits") -> None:
    """Measurements of a model as they stand; of circuits one row for each kind of edges, then their places."""
    circuits: tuple[MeasuredCircuit, ...] | None = getattr(result, "circuits", None)
    if circuits is None:
        show_any(console, result)
        return
    rows = [
        {"task": row.task, "settings": row.settings, "seed": row.seed, "solved": row.solved}
        | {"verdict": row.verdict or "unverified", "kind of edges": row.edge_kind, "edges": row.n_edges}
        | {"test loss": row.test_loss, "stored": row.stored_test_loss, "accuracy": row.accuracy, "kl": row.kl}
        | {"test pairs": row.n_test_pairs}
        for row in circuits
    ]
    console.print(table("circuits, measured again", rows))
    paths = {f"{row.task}, {row.settings}, seed {row.seed}": row.path for row in circuits}
    console.print(grid([name, path] for name, path in paths.items()))


VERB = Verb(
    name="eval",
    summary="Measure a run: held-out loss, density of each matrix, share of nonzero activations at each site.",
    usage="RUN [--circuits [CIRCUIT ...]] [--where NAME=VALUE ...]",
    example="thinwire eval runs/demo/sparse\nthinwire eval runs/demo/sparse --circuits\n"
    "thinwire eval runs/demo/sparse --where task=single_double_quote target_loss=0.3",
    add_arguments=_arguments,
    run=_run,
    show=show,
)
