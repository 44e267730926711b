from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace
from rich.console import Console
from rich.text import Text

from thinwire.cli.arguments import Parser, add_run, add_where
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import Row, grid, table
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.verification.result import Verification
    from thinwire.workflows.verify import VerifyResult


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


def _run(arguments: Namespace) -> "VerifyResult":
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


def show(console: Console, result: "VerifyResult") -> None:
    """Losses of every circuit, then the outcome of every test, then what each verdict rests on."""
    verified = [circuit.found for circuit in result.circuits]
    console.print(table("losses on test pairs", map(_losses, verified)))
    console.print(table(f"verdicts ({result.budget} budget)", map(_outcomes, verified)))
    for found in verified:
        console.print(Text(f"{found.claim.task}: {found.verdict}", style="bold"))
        console.print(grid(["  -", reason] for reason in found.reasons))


def _losses(found: "Verification") -> Row:
    claim, alone, without = found.claim, found.sufficiency, found.necessity
    return {
        "task": claim.task,
        "n_nodes": claim.n_nodes,
        "edges judged": f"{len(claim.edges)} {claim.edge_kind}",
        "model loss": alone.model_loss,
        "circuit alone": alone.loss,
        "accuracy": alone.accuracy,
        "kl": alone.kl,
        "without nodes": without.nodes_loss,
        "without edges": without.edges_loss,
        "without random": without.random_mean,
    }


def _outcomes(found: "Verification") -> Row:
    """The verdict and, for each outcome, the tests that had it."""
    marks = {
        mark: ", ".join(name for name, finding in found.findings.items() if finding.outcome == mark)
        for mark in ("passed", "failed", "not run")
    }
    return {"task": found.claim.task, "verdict": found.verdict, **marks}


VERB = Verb(
    name="verify",
    summary="Judge circuits by tests that they may fail: faithful, sufficient only, or not supported.",
    usage="RUN [CIRCUIT ...] [--where NAME=VALUE ...] [--budget fast|full]",
    example="thinwire verify runs/demo/sparse\nthinwire verify runs/demo/sparse found/elsewhere --budget full",
    add_arguments=_arguments,
    run=_run,
    show=show,
)
