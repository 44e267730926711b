from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console
from rich.text import Text

from thinwire.cli.arguments import Parser, add_config, add_device, add_dry_run
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import Row, fields, grid, table
from thinwire.cli.verb import Verb
from thinwire.errors import UserError

if TYPE_CHECKING:
    from thinwire.frontier.curve import Ratio
    from thinwire.frontier.points import ModelPoint
    from thinwire.workflows.frontier import FamilyPlan, Frontier

COUNTED = {"n_edges_unswept": "before any sweep", "n_edges": "after that of nodes", "n_minimal_edges": "minimal"}


def _arguments(parser: Parser, argv: list[str]) -> None:
    from thinwire.pruning.config import PruneConfig
    from thinwire.training.families import FAMILIES

    parser.add_argument(
        "family",
        type=str,
        nargs="?",
        default="",
        help=f"Models to train: {', '.join(FAMILIES)}. Without one, only what --reuse names is compared.",
    )
    parser.add_argument("--out", type=Path | None, default=None, help="Directory to make, or to go on in.")
    parser.add_argument("--reuse", type=str, nargs="+", default=[], help="Runs that are trained already.")
    parser.add_argument("--task", type=str, nargs="+", default=[], help="Tasks to prune; without any, every one.")
    parser.add_argument("--seeds", type=int, default=1, help="Circuits for each task, with the seeds from --seed on.")
    parser.add_argument("--workers", type=int, default=1, help="Processes that train and prune beside each other.")
    add_device(parser)
    add_dry_run(parser)
    add_config(parser, PruneConfig())


def _run(arguments: Namespace) -> "Frontier | FamilyPlan":
    from thinwire.training.families import family
    from thinwire.workflows.frontier import frontier, plan

    members = family(arguments.family) if arguments.family else ()
    if arguments.dry_run:
        return plan(members, arguments.device, progress=RichProgress())
    if arguments.out is None:
        raise UserError("where to? name a directory with --out")
    return frontier(
        arguments.out,
        members,
        reuse=arguments.reuse,
        tasks=arguments.task,
        config=arguments.settings,
        seeds=arguments.seeds,
        workers=arguments.workers,
        device=arguments.device,
        progress=RichProgress(),
    )


def show(console: Console, result: "Frontier | FamilyPlan") -> None:
    """The models with their means, then the ratios with their intervals, then what does not enter and why."""
    from thinwire.workflows.frontier import FamilyPlan

    if isinstance(result, FamilyPlan):
        _show_plan(console, result)
        return
    for requirement, found in result.tables.items():
        rows = [_model(model, found.means.get(model.name), result.fronts[requirement]) for model in result.models]
        said = (
            f"{requirement}: edges, geometric mean over {len(found.tasks)} tasks ({', '.join(found.tasks) or 'none'})"
        )
        console.print(table(said, rows))
    if result.ratios:
        names = {model.group: f"d{model.d_model}, density {model.density:g}" for model in result.models}
        console.print(
            table("times fewer edges than dense, at equal held-out loss", [_ratio(r, names) for r in result.ratios])
        )
    console.print(Text(result.rule, style="dim"))
    left_out = {(r.models, r.requirement, task): why for r in result.ratios for task, why in r.left_out.items()}
    console.print(grid([f"{', '.join(key[0])}, {key[1]}: {key[2]}", why] for key, why in left_out.items()))
    console.print(grid(["figure", path] for path in result.figures))


def _show_plan(console: Console, result: "FamilyPlan") -> None:
    rows = [
        {"model": row.name, "parameters": row.parameters, "nonzero": row.nonzero}
        | {"memory bytes": row.memory_bytes, "seconds": row.seconds}
        for row in result.members
    ]
    console.print(table("trainings", rows))
    console.print(fields({"seconds": result.seconds}))


def _model(model: "ModelPoint", mean: float | None, front: tuple[str, ...]) -> Row:
    return {
        "model": model.name,
        "kind": model.kind,
        "width": model.d_model,
        "density": model.density,
        "nonzero": model.nonzero,
        "tokens": model.n_tokens,
        "held-out loss": model.heldout_loss,
        "edges": mean,
        "on the front": model.name in front,
    }


def _ratio(found: "Ratio", names: dict[str, str]) -> Row:
    interval = "too few" if found.low is None or found.high is None else f"{found.low:.1f} to {found.high:.1f}"
    by_task = sorted(row.ratio for row in found.tasks)
    return {
        "sparse": names[found.group],
        "models": len(found.models),
        "held-out loss": found.heldout_loss,
        "asked for": found.requirement,
        "edges": COUNTED[found.counted],
        "ratio": found.ratio,
        "by task": ", ".join(f"{ratio:.1f}" for ratio in by_task),
        "95 %": interval,
        "tasks": len({row.task for row in found.tasks}),
    }


VERB = Verb(
    name="frontier",
    summary="Compare circuit sizes of sparse and dense models at equal held-out loss, over a family of models.",
    usage="[FAMILY] --out DIR [--reuse RUN ...] [--task TASK ...] [--KEY VALUE ...]",
    example="thinwire frontier --reuse runs/demo/sparse runs/demo/dense --out runs/frontier\n"
    "thinwire frontier frontier-cpu --dry_run\n"
    "thinwire frontier frontier-cpu --out runs/frontier --workers 2 --require robust",
    add_arguments=_arguments,
    run=_run,
    show=show,
)
