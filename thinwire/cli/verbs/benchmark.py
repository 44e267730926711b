from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser, add_resume
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import Row, fields, plain, table
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.ground_truth.results import AgainstTruth, MethodResult, ModelResult
    from thinwire.workflows.benchmark import BenchmarkResult, Means

Kind = Literal["nodes", "edges"]
KINDS: tuple[Kind, ...] = ("nodes", "edges")


def _arguments(parser: Parser, argv: list[str]) -> None:
    from thinwire.ground_truth.sizes import SizeName

    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="Directory of the measurements.")
    parser.add_argument(
        "--families", type=str, nargs="+", default=[], help="Families of hand-built models; without any, all of them."
    )
    parser.add_argument(
        "--sizes", type=SizeName, nargs="+", default=["small"], help="Tens, hundreds or thousands of nodes."
    )
    parser.add_argument(
        "--seeds", type=int, default=1, help="Models of each family and size, with the seeds from 0 on."
    )
    parser.add_argument(
        "--methods", type=str, nargs="+", default=[], help="Ways to find a circuit; without any, all of them."
    )
    parser.add_argument(
        "--skip_verify", action="store_true", help="Leave out what verify says of true circuits and of wrong ones."
    )
    parser.add_argument(
        "--budget", type=Literal["fast", "full"], default="fast", help="How many samples each test of verify takes."
    )
    parser.add_argument("--workers", type=int, default=1, help="Processes that measure models beside each other.")
    add_resume(parser)


def _run(arguments: Namespace) -> "BenchmarkResult":
    from thinwire.workflows.benchmark import BenchmarkConfig, benchmark
    from thinwire.workflows.contenders import METHODS

    config = BenchmarkConfig(
        methods=tuple(arguments.methods) or tuple(METHODS),
        judge=not arguments.skip_verify,
        budget=arguments.budget,
    )
    return benchmark(
        arguments.out,
        arguments.families,
        arguments.sizes,
        range(arguments.seeds),
        config,
        resume=arguments.resume,
        workers=arguments.workers,
        progress=RichProgress(),
    )


def show(console: Console, result: "BenchmarkResult") -> None:
    """One row for each model and method, nodes then edges; the verdicts that are wrong; then means over models."""
    for kind in KINDS:
        rows = [_row(model, row, kind) for model in result.models for row in model.methods]
        console.print(table(f"{kind} against the truth", rows))
    if wrong := [row for model in result.models for row in _wrong_verdicts(model)]:
        console.print(table("verdicts that are wrong", wrong))
    summary = result.summary
    means = [
        {"method": name, "of": kind, "exact": row.n_exact, "minimal sufficient": row.n_minimal_sufficient}
        | _rounded(getattr(row, kind))
        | {"seconds": row.seconds}
        for name, row in summary.methods.items()
        for kind in KINDS
    ]
    console.print(table(f"means over {summary.n_models} models", means))
    console.print(fields({**plain(summary.verdicts), "out": result.out}))


def _row(model: "ModelResult", row: "MethodResult", kind: Kind) -> Row:
    against, of = (row.nodes, model.n_nodes) if kind == "nodes" else (row.edges, model.n_edges)
    head = {"family": model.family.replace("_", " "), "of": of, "method": row.method}
    found = {"found / true": f"{against.n_found} / {against.n_true}", "exact": against.exact}
    return head | found | _rounded(against) | ({"seconds": row.seconds} if kind == "nodes" else {})


def _rounded(against: "AgainstTruth | Means") -> dict[str, float]:
    return {name: round(getattr(against, name), 3) for name in ("precision", "recall", "auroc", "cpr", "cmd")}


def _wrong_verdicts(model: "ModelResult") -> list[Row]:
    """Truths that are not called faithful, and mutations that are."""
    return [
        {"family": model.family, "of": model.n_nodes, "seed": model.seed}
        | {"circuit": said.claim, "verdict": said.verdict, "failed": ", ".join(said.failed)}
        for said in model.verdicts
        if not said.right
    ]


VERB = Verb(
    name="benchmark",
    summary="Hold pruning, other methods and verify against hand-built models whose circuits are known.",
    usage="[--families FAMILY ...] [--sizes SIZE ...] [--seeds N] [options]",
    example="thinwire benchmark\n"
    "thinwire benchmark --families redundant_head cancelling_pair --sizes small medium --seeds 3 --resume\n"
    "thinwire benchmark --methods sufficient magnitude --skip-verify --out runs/benchmark-methods",
    add_arguments=_arguments,
    run=_run,
    show=show,
    resumes=True,
)
