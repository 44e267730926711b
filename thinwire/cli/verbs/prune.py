from collections.abc import Iterator
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console
from rich.text import Text

from thinwire.cli.arguments import Parser, add_config, add_run, add_tasks, tasks_of
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import Row, grid, table
from thinwire.cli.verb import Verb
from thinwire.errors import UserError

if TYPE_CHECKING:
    from thinwire.workflows.pruned import OverSeeds, PrunedCircuit, PruneResult, Spread


def _arguments(parser: Parser, argv: list[str]) -> None:
    from thinwire.pruning.config import PruneConfig

    add_run(parser)
    add_tasks(parser, "Names of tasks, or .jsonl files of own pairs; `all` takes every one.")
    parser.add_argument("--resume", action="store_true", help="Keep the circuits that are finished, make the others.")
    parser.add_argument(
        "--step",
        type=int | None,
        default=None,
        help="Take the weights of this step of the training, of those that --train.keep_every_steps kept. Other verbs "
        "name such a model by its directory, RUN/steps/00000600.",
    )
    parser.add_argument("--seeds", type=int, default=1, help="Circuits for each task, with the seeds from --seed on.")
    parser.add_argument("--workers", type=int, default=1, help="Processes that prune tasks beside each other.")
    parser.add_argument("--search", type=int, default=0, help="Trials of a search for the settings of each task first.")
    parser.add_argument(
        "--together",
        action="store_true",
        help="Learn the gates of all seeds in one batch. A GPU does so by itself; CPU kernels gain nothing by it.",
    )
    add_config(parser, PruneConfig())


def _run(arguments: Namespace) -> "PruneResult":
    from thinwire.workflows.prune import prune_run

    tasks = tasks_of(arguments)
    if not tasks:
        raise UserError(f"no task is named; name some, or all of them: thinwire prune {arguments.run} all")
    return prune_run(
        arguments.run,
        tasks,
        arguments.settings,
        step=arguments.step,
        seeds=arguments.seeds,
        resume=arguments.resume,
        workers=arguments.workers,
        n_trials=arguments.search,
        together=arguments.together or None,
        device=arguments.device,
        progress=RichProgress(),
    )


def show(console: Console, result: "PruneResult") -> None:
    """One row for each circuit, its test loss beside the whole model's; then sizes over seeds, cautions and paths."""
    console.print(table("circuits", [_row(circuit) for circuit in result.circuits]))
    if missed := [row for circuit in result.circuits for row in _missed(circuit)]:
        console.print(table("what was asked for and not met, on validation pairs", missed))
    if any(over.n_seeds > 1 for over in result.over_seeds):
        console.print(table("over seeds, circuits that met their target", map(_over_seeds, result.over_seeds)))
    console.print(Text(f"solved: {result.solved_means}", style="dim"))
    console.print(grid([_called(circuit), why] for circuit in result.circuits for why in _remarks(circuit)))
    console.print(grid([task, f"unavailable: {reason}"] for task, reason in result.unavailable.items()))
    console.print(grid([_called(circuit), circuit.path] for circuit in result.circuits))


def _row(circuit: "PrunedCircuit") -> Row:
    return {
        "task": circuit.task,
        "settings": circuit.settings,
        "seed": circuit.seed,
        "solved": circuit.solved,
        "model does it": circuit.model_does,
        "verdict": circuit.verdict or "unverified",
        "nodes": circuit.n_nodes,
        "edges": circuit.n_edges,
        "minimal": circuit.n_minimal_edges,
        "validation loss": circuit.validation.loss,
        "test loss": circuit.test.loss,
        "accuracy": circuit.test.accuracy,
        "kl": circuit.test.kl,
        "model loss": circuit.model_test.loss,
        "test pairs": circuit.n_test_pairs,
    }


def _remarks(circuit: "PrunedCircuit") -> Iterator[str]:
    """What a reader of the row should know: its parts, why it is not solved, how rough it is, which verdict is void."""
    if circuit.anatomy:
        yield circuit.anatomy
    if circuit.why_not:
        yield f"not solved: {'; '.join(circuit.why_not)}"
    if circuit.caution:
        yield circuit.caution
    if circuit.void_verdict:
        yield f"differs from the circuit that lay here, whose verdict ({circuit.void_verdict}) is void; verify it again"


def _called(circuit: "PrunedCircuit") -> str:
    return f"{circuit.task}, {circuit.settings}, seed {circuit.seed}"


def _missed(circuit: "PrunedCircuit") -> list[Row]:
    """Which terms a circuit fails, and by how much."""
    names = {"task": circuit.task, "requirement": circuit.requirement, "seed": circuit.seed}
    return [
        names | {"term": term, "found": demand.value, "at most": demand.limit}
        for term, demand in circuit.demands.items()
        if not demand.met
    ]


def _over_seeds(over: "OverSeeds") -> Row:
    """Median (smallest to largest) of each size."""

    def spread(sizes: "Spread | None") -> str | None:
        return sizes and f"{sizes.median:g} ({sizes.smallest} to {sizes.largest})"

    return {
        "task": over.task,
        "requirement": over.requirement,
        "target met": f"{over.n_target_met} of {over.n_seeds}",
        "solved": f"{over.n_solved} of {over.n_seeds}",
        "nodes": spread(over.n_nodes),
        "edges": spread(over.n_edges),
        "minimal": spread(over.n_minimal_edges),
        "unswept": spread(over.n_edges_unswept),
        "node overlap": over.node_overlap,
    }


VERB = Verb(
    name="prune",
    summary="Find the smallest circuit of a run that still does a task.",
    usage="RUN TASK [TASK ...] [--KEY VALUE ...]",
    example="thinwire prune runs/demo/sparse single_double_quote\n"
    "thinwire prune runs/demo/sparse single_double_quote --require faithful\n"
    "thinwire prune runs/demo/sparse all --seeds 3 --workers 2\n"
    "thinwire prune runs/demo/sparse bracket_brace else_elif --target_loss 0.1 --seed 1",
    add_arguments=_arguments,
    run=_run,
    show=show,
    resumes=True,
)
