"""The verbs of the command line: which workflow each calls.

Workflows and configs are imported inside the functions, so that `--help` and mistakes cost no second.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from thinwire.cli.arguments import Parser, build, flat, run_defaults, stored_config
from thinwire.cli.console import RichProgress, announce
from thinwire.cli.verb_arguments import (
    baselines_arguments,
    check_arguments,
    demo_arguments,
    eval_arguments,
    no_arguments,
    plot_arguments,
    prune_arguments,
    report_arguments,
    show_arguments,
    train_arguments,
    verify_arguments,
    view_arguments,
)
from thinwire.errors import UserError
from thinwire.training.config import RunConfig

Run = Callable[[Parser, Namespace], dict[str, Any]]


@dataclass(frozen=True)
class Verb:
    """One verb: what its help says, what it takes and what it does."""

    summary: str
    usage: str
    example: str
    add_arguments: Callable[[Parser, list[str]], None]
    run: Run


def _demo(parser: Parser, arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.demo import demo, demo_plan

    if arguments.dry_run:
        return demo_plan()
    return demo(arguments.out, seed=arguments.seed, device=arguments.device, progress=RichProgress())


def _train(parser: Parser, arguments: Namespace) -> dict[str, Any]:
    from thinwire.training.distributed import ProcessLost
    from thinwire.workflows.train import dry_run, train

    config = build(RunConfig, parser, arguments)
    if arguments.dry_run:
        return dry_run(config, arguments.device, probe=True, progress=RichProgress())
    if arguments.out is None:
        raise UserError("--out is missing; name the run directory to make: --out runs/NAME")
    resume = arguments.resume
    if resume and (stored := stored_config(arguments.out)):
        _refuse_changes(config, stored, arguments.out)
    elif config != run_defaults([]):  # the interrupted call had not come so far as to make its run
        resume = False
    with _one_voice(ProcessLost):
        return train(
            config,
            arguments.out,
            resume=resume,
            device=arguments.device,
            watchers=arguments.watch,
            progress=RichProgress(),
        )


@contextmanager
def _one_voice(heard: type[UserError]) -> Iterator[None]:
    """Of the processes that torchrun started only the first tells what came out, whatever went wrong but `heard`."""
    rank, code = int(os.environ.get("RANK", "0")), 0
    try:
        yield
    except heard:
        raise
    except UserError:
        if not rank:
            raise
        code = 2
    if rank:
        raise SystemExit(code)


def _refuse_changes(config: RunConfig, stored: RunConfig, out: Path) -> None:
    """A run continues as it began; an option that says otherwise is a mistake."""
    wanted, had = flat(asdict(config)), flat(asdict(stored))
    wanted["threads"] = wanted["threads"] or had["threads"]
    if changed := [key for key in wanted if wanted[key] != had[key]]:
        raise UserError(f"{out} has other values of {', '.join(changed)}; drop these options to continue it")


def _eval(parser: Parser, arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.evaluate import evaluate, evaluate_circuits

    if arguments.circuits is not None:
        return evaluate_circuits(arguments.run, arguments.circuits, device=arguments.device, progress=RichProgress())
    return evaluate(arguments.run, device=arguments.device, progress=RichProgress())


def _tasks_list(parser: Parser, arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.tasks import list_tasks

    return list_tasks()


def _tasks_show(parser: Parser, arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.tasks import show_task

    return show_task(arguments.task, arguments.pairs)


def _tasks_check(parser: Parser, arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.tasks import check_tasks

    return check_tasks(arguments.run, arguments.task, device=arguments.device, progress=RichProgress())


def _prune(parser: Parser, arguments: Namespace) -> dict[str, Any]:
    from thinwire.pruning.config import PruneConfig
    from thinwire.workflows.prune import prune_run

    config = build(PruneConfig, parser, arguments)
    tasks = [*arguments.tasks, *arguments.task]
    if not tasks:
        raise UserError("required: tasks; name some, or all of them: thinwire prune RUN --task all")
    return prune_run(
        arguments.run,
        tasks,
        config,
        seeds=arguments.seeds,
        resume=arguments.resume,
        workers=arguments.workers,
        n_trials=arguments.search,
        together=arguments.together or None,
        device=arguments.device,
        progress=RichProgress(),
    )


def _baselines(parser: Parser, arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.baselines import baselines_run

    return baselines_run(
        arguments.run, arguments.tasks, sweep=arguments.sweep, device=arguments.device, progress=RichProgress()
    )


def _verify(parser: Parser, arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.verify import verify_run

    return verify_run(
        arguments.run,
        arguments.circuits,
        budget=arguments.budget,
        seed=arguments.seed,
        device=arguments.device,
        progress=RichProgress(),
    )


def _report(parser: Parser, arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.report import report_run

    return report_run(arguments.run, arguments.out, device=arguments.device, progress=RichProgress())


def _view(parser: Parser, arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.view import view

    if arguments.live:
        return _serve(arguments)
    return view(arguments.paths, arguments.out, graph=arguments.graph, device=arguments.device, progress=RichProgress())


def _serve(arguments: Namespace) -> dict[str, Any]:
    """Serve until interrupted, which is how a live page ends well."""
    from thinwire.workflows.live import live_server

    if arguments.out or arguments.graph:
        raise UserError("--live writes no files; drop --out and --graph")
    server = live_server(arguments.paths, port=arguments.port, device=arguments.device, progress=RichProgress())
    announce(f"{server.url}\nOpen this address in a browser on this machine; Ctrl-C ends it.")
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    server.server_close()
    return {"served": server.url}


def _plot(parser: Parser, arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.plot import plot_run

    return plot_run(
        arguments.run, arguments.out, formats=arguments.formats, device=arguments.device, progress=RichProgress()
    )


def _doctor(parser: Parser, arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.doctor import doctor

    return doctor()


VERBS = {
    "demo": Verb(
        "Train a sparse model and a dense twin, find and check their task circuits, write a report.",
        "[--out DIR] [--resume] [options]",
        "thinwire demo --out runs/demo",
        demo_arguments,
        _demo,
    ),
    "train": Verb(
        "Train one model, sparse or dense, into a run directory.",
        "--out DIR [--recipe NAME] [--config FILE] [--GROUP.KEY VALUE ...]",
        "thinwire train --recipe demo --out runs/sparse\n"
        "thinwire train --recipe demo --out runs/short --train.n_tokens 500000 --model.d_model 128\n"
        "thinwire train --recipe demo --print_config > run.yaml && thinwire train --config run.yaml --out runs/mine\n"
        "thinwire train --out runs/sparse --resume",
        train_arguments,
        _train,
    ),
    "eval": Verb(
        "Measure a run: held-out loss, density of each matrix, share of nonzero activations at each site.",
        "RUN [--circuits [CIRCUIT ...]] [options]",
        "thinwire eval runs/demo/sparse\nthinwire eval runs/demo/sparse --circuits",
        eval_arguments,
        _eval,
    ),
    "tasks list": Verb(
        "List the tasks: binary next-token choices on short Python prompts.",
        "[--json]",
        "thinwire tasks list",
        no_arguments,
        _tasks_list,
    ),
    "tasks show": Verb(
        "Show prompt pairs of one task.",
        "TASK [--pairs N]",
        "thinwire tasks show single_double_quote --pairs 5",
        show_arguments,
        _tasks_show,
    ),
    "tasks check": Verb(
        "Measure which tasks a model solves, before any pruning.",
        "RUN [--task TASK ...] [options]",
        "thinwire tasks check runs/demo/sparse\n"
        "thinwire tasks check runs/demo/sparse --task single_double_quote my_pairs.jsonl",
        check_arguments,
        _tasks_check,
    ),
    "prune": Verb(
        "Find the smallest circuit of a run that still does a task.",
        "RUN TASK [TASK ...] [--KEY VALUE ...]",
        "thinwire prune runs/demo/sparse single_double_quote\n"
        "thinwire prune runs/demo/sparse --task all --seeds 3 --workers 2\n"
        "thinwire prune runs/demo/sparse bracket_brace else_elif --target_loss 0.1 --seed 1",
        prune_arguments,
        _prune,
    ),
    "baselines": Verb(
        "Choose as many edges as a run's circuits have by attribution, weight magnitude or chance, and compare.",
        "RUN [TASK ...] [--sweep] [options]",
        "thinwire baselines runs/demo/sparse\nthinwire baselines runs/demo/sparse single_double_quote --sweep",
        baselines_arguments,
        _baselines,
    ),
    "verify": Verb(
        "Judge circuits by nine tests: faithful, sufficient only, or not supported.",
        "RUN [CIRCUIT ...] [--budget fast|full] [options]",
        "thinwire verify runs/demo/sparse\nthinwire verify runs/demo/sparse found/elsewhere --budget full",
        verify_arguments,
        _verify,
    ),
    "report": Verb(
        "Write a run's circuits as one self-contained HTML file.",
        "RUN [--out FILE]",
        "thinwire report runs/demo/sparse",
        report_arguments,
        _report,
    ),
    "view": Verb(
        "Write circuits as one interactive page, or serve it live.",
        "CIRCUIT|RUN|DEMO [...] [--out FILE] [--live]",
        "thinwire view runs/demo\nthinwire view runs/demo/sparse --live",
        view_arguments,
        _view,
    ),
    "plot": Verb(
        "Draw a run's training curves, losses against size and circuits with matplotlib.",
        "RUN [--out DIR] [--formats svg pdf png]",
        "thinwire plot runs/demo/sparse --formats pdf",
        plot_arguments,
        _plot,
    ),
    "doctor": Verb(
        "Check this machine: versions, compiler, threads, memory, disk, devices.",
        "[--json]",
        "thinwire doctor",
        no_arguments,
        _doctor,
    ),
}
