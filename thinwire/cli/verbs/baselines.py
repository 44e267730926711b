from typing import Any

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser, add_run, add_tasks, tasks_of
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import Result, fields, table
from thinwire.cli.verb import Verb


def _arguments(parser: Parser, argv: list[str]) -> None:
    add_run(parser)
    add_tasks(parser, "Tasks for which the run has a circuit that met its target; without any, all of these.")
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="Sweep the baselines too: are gates needed before a sweep? Takes minutes for each task.",
    )


def _run(arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.baselines import baselines_run

    return baselines_run(
        arguments.run, tasks_of(arguments), sweep=arguments.sweep, device=arguments.device, progress=RichProgress()
    )


def show(console: Console, result: Result) -> None:
    """One table for each task: every way of choosing at the same number of edges, and what it needs by itself."""
    for task in result["tasks"]:
        rows = [
            {"method": row["method"].replace("_", " "), "n_nodes": row["n_nodes"], "edges": row["edges"]}
            | {"they are": row["edges_are"], "validation loss": row["validation_loss"], "test loss": row["test_loss"]}
            | {"accuracy": row["test_accuracy"], "edges to target": row["n_edges_to_target"]}
            | {"swept": row["n_edges_swept"]}
            for row in task["methods"]
        ]
        console.print(table(f"{task['task']}: at equal numbers of edges; target {task['target_loss']:g}", rows))
        console.print(fields({"circuit": task["path"]}))


VERB = Verb(
    name="baselines",
    summary="Choose as many edges as a run's circuits have by attribution, weight magnitude or chance, and compare.",
    usage="RUN [TASK ...] [--sweep] [options]",
    example="thinwire baselines runs/demo/sparse\nthinwire baselines runs/demo/sparse single_double_quote --sweep",
    add_arguments=_arguments,
    run=_run,
    show=show,
)
