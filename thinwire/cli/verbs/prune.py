from typing import Any

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser, add_config, add_run, add_tasks, tasks_of
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import Result, Row, fields, table
from thinwire.cli.verb import Verb
from thinwire.errors import UserError


def _arguments(parser: Parser, argv: list[str]) -> None:
    from thinwire.pruning.config import PruneConfig

    add_run(parser)
    add_tasks(parser, "Names of tasks, or .jsonl files of own pairs; `all` takes every one.")
    parser.add_argument("--resume", action="store_true", help="Keep the circuits that are finished, make the others.")
    parser.add_argument("--seeds", type=int, default=1, help="Circuits for each task, with the seeds from --seed on.")
    parser.add_argument("--workers", type=int, default=1, help="Processes that prune tasks beside each other.")
    parser.add_argument("--search", type=int, default=0, help="Trials of a search for the settings of each task first.")
    parser.add_argument(
        "--together",
        action="store_true",
        help="Learn the gates of all seeds in one batch. A GPU does so by itself; CPU kernels gain nothing by it.",
    )
    add_config(parser, PruneConfig())


def _run(arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.prune import prune_run

    tasks = tasks_of(arguments)
    if not tasks:
        raise UserError(f"no task is named; name some, or all of them: thinwire prune {arguments.run} all")
    return prune_run(
        arguments.run,
        tasks,
        arguments.settings,
        seeds=arguments.seeds,
        resume=arguments.resume,
        workers=arguments.workers,
        n_trials=arguments.search,
        together=arguments.together or None,
        device=arguments.device,
        progress=RichProgress(),
    )


def show(console: Console, result: Result) -> None:
    """One row for each circuit, its test loss beside the whole model's; then sizes over seeds."""
    names = ("task", "requirement", "seed", "status", "n_nodes", "n_edges")
    rows = [
        {name: circuit[name] for name in names}
        | {"minimal edges": circuit["n_minimal_edges"]}
        | {"validation loss": circuit["validation"]["loss"], "test loss": circuit["test"]["loss"]}
        | {"accuracy": circuit["test"]["accuracy"], "kl": circuit["test"]["kl"]}
        | {"model loss": circuit["model_test"]["loss"]}
        for circuit in result["circuits"]
    ]
    console.print(table("circuits", rows))
    if missed := [row for circuit in result["circuits"] for row in _missed(circuit)]:
        console.print(table("what was asked for and not met, on validation pairs", missed))
    seeds = [_over_seeds(task, name, over) for task, asked in result["tasks"].items() for name, over in asked.items()]
    if any(circuit["seed"] != result["circuits"][0]["seed"] for circuit in result["circuits"]):
        console.print(table("over seeds", seeds))
    if result["unavailable"]:
        console.print(fields({f"{task}: unavailable": reason for task, reason in result["unavailable"].items()}))
    console.print(fields({_called(circuit): circuit["path"] for circuit in result["circuits"]}))


def _called(circuit: Row) -> str:
    return f"{circuit['task']}, {circuit['requirement']}, seed {circuit['seed']}"


def _missed(circuit: Row) -> list[Row]:
    """Which terms a circuit fails, and by how much."""
    names = {"task": circuit["task"], "requirement": circuit["requirement"], "seed": circuit["seed"]}
    return [
        names | {"term": term, "found": demand["value"], "at most": demand["limit"]}
        for term, demand in circuit["demands"].items()
        if not demand["met"]
    ]


def _over_seeds(task: str, requirement: str, over: Row) -> Row:
    """Median (smallest to largest) of each size."""
    row = {"task": task, "requirement": requirement, "solved": f"{over['n_solved']} of {over['n_seeds']}"}
    for name in ("n_nodes", "n_edges", "n_minimal_edges", "n_edges_unswept"):
        sizes = over[name]
        row[name] = sizes and f"{sizes['median']:g} ({sizes['smallest']} to {sizes['largest']})"
    return row | {"node overlap": over["node_overlap"]}


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
