from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser, add_device, add_dry_run, add_resume
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import Row, fields, grid, plain, show_any, table
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.frontier.compare import Cell, Rung
    from thinwire.workflows.demo import DemoPlan, DemoResult


def _arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="Directory for the two runs and the report."
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of everything that is drawn at random.")
    add_resume(parser, "This verb does so by itself; the option is for scripts that give it everywhere.")
    add_dry_run(parser)
    add_device(parser)


def _run(arguments: Namespace) -> "DemoResult | DemoPlan":
    from thinwire.workflows.demo import demo, demo_plan

    if arguments.dry_run:
        return demo_plan()
    return demo(arguments.out, seed=arguments.seed, device=arguments.device, progress=RichProgress())


COUNTED = {
    "n_edges": "edges",
    "n_edges_unswept": "edges before the sweep of nodes",
    "n_minimal_edges": "minimal edges",
}


def show(console: Console, result: "DemoResult | DemoPlan") -> None:
    """What a demo found, or would do."""
    from thinwire.workflows.demo import DemoPlan

    if isinstance(result, DemoPlan):
        show_any(console, result)
    else:
        _show_demo(console, result)


def _show_demo(console: Console, result: "DemoResult") -> None:
    """One row for each task and model, means over tasks, time; the rest as fields."""
    rows = [_row(task, model, cell) for task, models in result.tasks.items() for model, cell in models.items()]
    console.print(table("task circuits", rows))
    means = [{"geometric mean of": words, **result.sweeps[counted]} for counted, words in COUNTED.items()]
    compared = f"{len(result.tasks_compared)} of {len(result.tasks)} tasks, those that both whole models do"
    console.print(table(f"dense over sparse, over {compared}", means))
    console.print(grid([f"{task} is left out", why] for task, why in result.tasks_left_out.items()))
    console.print(table("sparse: what each demand costs", map(_rung, result.ladder)))
    console.print(table("time", plain(result.stages)))
    console.print(fields({name: getattr(result, name) for name in ("heldout_loss", "seconds", "report")}))


def _row(task: str, model: str, cell: "Cell") -> Row:
    return {
        "task": task,
        "model": model,
        "model does it": cell.model_does,
        "circuit does it": cell.circuit_does,
        "verdict": cell.verdict,
        "nodes": cell.n_nodes,
        "edges": cell.n_edges,
        "unswept": cell.n_edges_unswept,
        "minimal": cell.n_minimal_edges,
        "test loss": cell.heldout_loss,
        "accuracy": cell.heldout_accuracy,
        "test pairs": cell.n_test_pairs,
    }


def _rung(rung: "Rung") -> Row:
    return {
        "task": rung.task,
        "asked": rung.requirement,
        "met": rung.met or f"no: {', '.join(rung.not_met)}",
        "verdict": rung.verdict,
        "nodes": rung.n_nodes,
        "edges": rung.n_edges,
        "minimal": rung.n_minimal_edges,
        "test loss": rung.test_loss,
        "model": rung.model_test_loss,
    }


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
