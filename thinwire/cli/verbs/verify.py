from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from jsonargparse import Namespace
from rich.console import Console
from rich.text import Text

from thinwire.cli.arguments import Parser, add_run, add_where
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import Result, grid, table
from thinwire.cli.verb import Verb


def _arguments(parser: Parser, argv: list[str]) -> None:
    add_run(parser)
    parser.add_argument(
        "circuits",
        type=Path,
        nargs="*",
        default=[],
        help="Directories with a circuit.json; without any, all circuits of the run.",
    )
    add_where(parser)
    parser.add_argument(
        "--budget",
        type=Literal["fast", "full"],
        default="fast",
        help="How many samples each test takes; only `full` prunes again, for controls and backups.",
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of everything that is drawn at random.")


def _run(arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.verify import verify_run

    return verify_run(
        arguments.run,
        arguments.circuits,
        where=arguments.where,
        budget=arguments.budget,
        seed=arguments.seed,
        device=arguments.device,
        progress=RichProgress(),
    )


def show(console: Console, result: Result) -> None:
    """Losses of every circuit, then the outcome of every test, then what each verdict rests on."""
    losses, outcomes = [], []
    for circuit in result["circuits"]:
        alone, without = circuit["sufficiency"], circuit["necessity"]
        head = {"task": circuit["task"], "n_nodes": circuit["n_nodes"]}
        head |= {"edges judged": f"{circuit['n_judged_edges']} {circuit['judged_edges']}"}
        losses.append(
            {**head, "model loss": alone["model_loss"], "circuit alone": alone["loss"], "accuracy": alone["accuracy"]}
            | {"kl": alone["kl"], "without nodes": without["nodes_loss"], "without edges": without["edges_loss"]}
            | {"without random": without["random_mean"]}
        )
        tests = {name: part for name, part in circuit.items() if isinstance(part, Mapping) and "passed" in part}
        marks = {
            mark: ", ".join(name for name, part in tests.items() if part["verdict"] == mark)
            for mark in ("passed", "failed", "not run")
        }
        outcomes.append({"task": circuit["task"], "verdict": circuit["verdict"], **marks})
    console.print(table("losses on test pairs", losses))
    console.print(table(f"verdicts ({result['budget']} budget)", outcomes))
    for circuit in result["circuits"]:
        console.print(Text(f"{circuit['task']}: {circuit['verdict']}", style="bold"))
        console.print(grid(["  -", reason] for reason in circuit["reasons"]))


VERB = Verb(
    name="verify",
    summary="Judge circuits by tests that they may fail: faithful, sufficient only, or not supported.",
    usage="RUN [CIRCUIT ...] [--where NAME=VALUE ...] [--budget fast|full]",
    example="thinwire verify runs/demo/sparse\nthinwire verify runs/demo/sparse found/elsewhere --budget full",
    add_arguments=_arguments,
    run=_run,
    show=show,
)
