from pathlib import Path
from typing import Any, Literal

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser, add_resume
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import Result, Row, fields, table
from thinwire.cli.verb import Verb


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


def _run(arguments: Namespace) -> dict[str, Any]:
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


def show(console: Console, result: Result) -> None:
    """One row for each model and method, nodes then edges; the verdicts that are wrong; then means over models."""
    models = result["models"]
    for kind in ("nodes", "edges"):
        rows = [_row(model, row, kind) for model in models for row in model["methods"]]
        console.print(table(f"{kind} against the truth", rows))
    if wrong := [row for model in models for row in _wrong_verdicts(model)]:
        console.print(table("verdicts that are wrong", wrong))
    summary = result["summary"]
    means = [
        {"method": name, "of": kind, "exact": row["n_exact"], "minimal sufficient": row["n_minimal_sufficient"]}
        | _rounded(row[kind])
        | {"seconds": row["seconds"]}
        for name, row in summary["methods"].items()
        for kind in ("nodes", "edges")
    ]
    console.print(table(f"means over {summary['n_models']} models", means))
    console.print(fields({**summary["verdicts"], "out": result["out"]}))


def _row(model: Row, row: Row, kind: str) -> Row:
    against = row[kind]
    head = {"family": model["family"].replace("_", " "), "of": model[f"n_{kind}"], "method": row["method"]}
    found = {"found / true": f"{against['n_found']} / {against['n_true']}", "exact": against["exact"]}
    return head | found | _rounded(against) | ({"seconds": row["seconds"]} if kind == "nodes" else {})


def _rounded(against: Row) -> dict[str, float]:
    return {name: round(against[name], 3) for name in ("precision", "recall", "auroc", "cpr", "cmd")}


def _wrong_verdicts(model: Row) -> list[Row]:
    """Truths that are not called faithful, and mutations that are."""
    return [
        {"family": model["family"], "of": model["n_nodes"], "seed": model["seed"]}
        | {"circuit": said["claim"], "verdict": said["verdict"], "failed": ", ".join(said["failed"])}
        for said in model["verdicts"]
        if (said["claim"] == "truth") != (said["verdict"] == "faithful")
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
