from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser, add_device, add_dry_run, add_resume
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import Result, fields, show_any, table
from thinwire.cli.verb import Verb


def _arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="Directory for the two runs and the report."
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of everything that is drawn at random.")
    add_resume(parser, "This verb does so by itself; the option is for scripts that give it everywhere.")
    add_dry_run(parser)
    add_device(parser)


def _run(arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.demo import demo, demo_plan

    if arguments.dry_run:
        return demo_plan()
    return demo(arguments.out, seed=arguments.seed, device=arguments.device, progress=RichProgress())


COUNTED = {
    "n_edges": "edges",
    "n_edges_unswept": "edges before the sweep of nodes",
    "n_minimal_edges": "minimal edges",
}


def show(console: Console, result: Result) -> None:
    """One row for each task and model, means over tasks, time; the rest as fields. A dry run has no tasks yet."""
    if "tasks" not in result:
        return show_any(console, result)
    rest = {name: value for name, value in result.items() if name not in ("geomean_edges", "edge_ratio")}
    tasks, sweeps, stages = (rest.pop(name) for name in ("tasks", "sweeps", "stages"))
    rows = [
        {"task": task, "model": model, **cells} for task, models in tasks.items() for model, cells in models.items()
    ]
    console.print(table("task circuits", rows))
    means = [{"geometric mean of": words, **sweeps[counted]} for counted, words in COUNTED.items()]
    console.print(table("dense over sparse, tasks solved in both", means))
    console.print(table("time", stages))
    console.print(fields(rest))


VERB = Verb(
    name="demo",
    summary="Train a sparse model and a dense twin, find and check their task circuits, write a report.",
    usage="[--out DIR] [--resume] [options]",
    example="thinwire demo --out runs/demo",
    add_arguments=_arguments,
    run=_run,
    show=show,
    resumes=True,
)
