from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser, add_device, add_dry_run, add_resume
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import Row, fields, grid, plain, show_any, table
from thinwire.cli.verb import Verb
from thinwire.errors import UserError

if TYPE_CHECKING:
    from thinwire.frontier.compare import Cell, Rung
    from thinwire.workflows.demo import DemoPlan, DemoResult
    from thinwire.workflows.pretrained import Pretrained
    from thinwire.workflows.pruned import PrunedCircuit


def _arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument(
        "--out",
        type=Path | None,
        default=None,
        help="Directory for the two runs and the report; without it runs/demo, or runs/pretrained with --pretrained.",
    )
    parser.add_argument(
        "--pretrained",
        action="store_true",
        help="Train nothing: write the page of the model that comes with the package, in about a minute, offline.",
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of everything that is drawn at random.")
    add_resume(parser, "This verb does so by itself; the option is for scripts that give it everywhere.")
    add_dry_run(parser)
    add_device(parser)


def _run(arguments: Namespace) -> "DemoResult | DemoPlan | Pretrained":
    from thinwire.workflows.demo import demo, demo_plan
    from thinwire.workflows.pretrained import pretrained

    if arguments.pretrained:
        if arguments.dry_run or arguments.seed:
            raise UserError("--pretrained trains nothing and draws nothing; drop --dry_run and --seed")
        return pretrained(arguments.out or "runs/pretrained", device=arguments.device, progress=RichProgress())
    if arguments.dry_run:
        return demo_plan()
    return demo(arguments.out or "runs/demo", seed=arguments.seed, device=arguments.device, progress=RichProgress())


COUNTED = {
    "n_edges": "edges",
    "n_edges_unswept": "edges before the sweep of nodes",
    "n_minimal_edges": "minimal edges",
}


def show(console: Console, result: "DemoResult | DemoPlan | Pretrained") -> None:
    """What a demo found, or would do, or what came with the package."""
    from thinwire.workflows.demo import DemoPlan
    from thinwire.workflows.pretrained import Pretrained

    if isinstance(result, DemoPlan):
        show_any(console, result)
    elif isinstance(result, Pretrained):
        rows = [{**_pretrained(circuit), "on the page": circuit.path in result.shown} for circuit in result.circuits]
        console.print(table("circuits of the model that comes with the package", rows))
        console.print(fields({name: getattr(result, name) for name in ("heldout_loss", "density", "model", "view")}))
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


def _pretrained(circuit: "PrunedCircuit") -> Row:
    return {
        "task": circuit.task,
        "asked": circuit.requirement,
        "solved": circuit.solved,
        "verdict": circuit.verdict or "unverified",
        "nodes": circuit.n_nodes,
        "edges": circuit.n_edges,
        "minimal": circuit.n_minimal_edges,
        "test loss": circuit.test.loss,
        "accuracy": circuit.test.accuracy,
        "model loss": circuit.model_test.loss,
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
    usage="[--pretrained] [--out DIR] [--resume] [options]",
    example="thinwire demo --pretrained\nthinwire demo --out runs/demo",
    add_arguments=_arguments,
    run=_run,
    show=show,
    resumes=True,
)
