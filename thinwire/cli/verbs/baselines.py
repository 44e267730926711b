from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console
from rich.text import Text

from thinwire.cli.arguments import Parser, add_run, add_tasks, add_where, tasks_of
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import fields, table
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.workflows.baselines import Comparisons


def _arguments(parser: Parser, argv: list[str]) -> None:
    add_run(parser)
    add_tasks(parser, "Tasks for which the run has a circuit that met its target; without any, all of these.")
    add_where(parser)
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="Sweep the baselines too: are gates needed before a sweep? Takes minutes for each task.",
    )


def _run(arguments: Namespace) -> "Comparisons":
    from thinwire.workflows.baselines import baselines_run

    return baselines_run(
        arguments.run,
        tasks_of(arguments),
        where=arguments.where,
        sweep=arguments.sweep,
        device=arguments.device,
        progress=RichProgress(),
    )


def show(console: Console, result: "Comparisons") -> None:
    """One table for each task: every way of choosing at the same number of edges, and what it needs by itself."""
    console.print(Text(result.rule, style="dim"))
    for task in result.tasks:
        rows = [
            {"method": way.method.replace("_", " "), "nodes": way.n_nodes, "edges": way.edges}
            | {"they are": way.edges_are, "validation loss": way.validation_loss, "test loss": way.test_loss}
            | {"accuracy": way.test_accuracy, "edges to target": way.n_edges_to_target, "swept": way.n_edges_swept}
            for way in task.methods
        ]
        pairs = f"; {task.n_test_pairs} test pairs" if task.n_test_pairs else ""
        said = f"{task.settings}, seed {task.seed}, target {task.target_loss:g}{pairs}"
        console.print(table(f"{task.task}: at equal numbers of edges ({said})", rows))
        gap = task.completeness_gap
        missed = (
            {} if gap is None else {"integrated gradients miss": f"{100 * gap:.0f} % of what they should add up to"}
        )
        console.print(fields({"circuit": result.paths[task.task], **missed}))


VERB = Verb(
    name="baselines",
    summary="Choose as many edges as a run's circuits have by attribution, weight magnitude or chance, and compare.",
    usage="RUN [TASK ...] [--where NAME=VALUE ...] [--sweep] [options]",
    example="thinwire baselines runs/demo/sparse\nthinwire baselines runs/demo/sparse single_double_quote --sweep",
    add_arguments=_arguments,
    run=_run,
    show=show,
)
