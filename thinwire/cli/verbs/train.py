import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser, add_config, add_device, add_dry_run, add_resume, flat, load_yaml
from thinwire.cli.console import RichProgress, duration, value_text
from thinwire.cli.tables import plain, show_any
from thinwire.cli.verb import Verb
from thinwire.errors import UserError
from thinwire.storage.files import is_sealed, read_sealed
from thinwire.training.config import RunConfig
from thinwire.training.config_file import from_yaml
from thinwire.training.recipes import RECIPES, recipe

if TYPE_CHECKING:
    from thinwire.workflows.train import TimedPlan, TrainResult


def _arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument("--out", type=Path | None, default=None, help="Run directory to make (or to continue).")
    add_resume(parser)
    add_dry_run(parser)
    parser.add_argument(
        "--watch",
        type=Literal["tensorboard", "wandb"],
        nargs="+",
        default=[],
        help="Who else is told of every step, beside metrics.jsonl.",
    )
    add_device(parser)
    words = f"Name of the recipe that gives the defaults: {', '.join(RECIPES)}."
    add_config(parser, _defaults(argv), {"recipe": words})
    parser.aliases["--seed"] = "--train.seed"


def _defaults(argv: list[str]) -> RunConfig:
    """With `--resume` the stored config of the run in `--out`, else a recipe.

    The recipe is the one that `--recipe` or a config file names last; without any it is `demo`.
    """
    look = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    look.add_argument("--recipe", dest="named", action="append", default=[])
    look.add_argument("--config", dest="named", action="append", type=Path)
    look.add_argument("--out", type=Path)
    look.add_argument("--resume", action="store_true")
    try:
        known, _ = look.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from None
    if known.resume and known.out and (stored := _stored_config(known.out)):
        return stored
    names = [_recipe_of(item) if isinstance(item, Path) else item for item in known.named]
    return recipe(next((name for name in reversed(names) if name), "demo"))


def _recipe_of(path: Path) -> str | None:
    values = load_yaml(path)
    return values.get("recipe") if isinstance(values, dict) else None


def _stored_config(run: Path) -> RunConfig | None:
    """The config that a run directory was made with; None if there is no such run."""
    if not is_sealed(run, "config.yaml"):
        return None
    return from_yaml(read_sealed(run, "config.yaml"), run / "config.yaml")


def _run(arguments: Namespace) -> "TrainResult | TimedPlan":
    from thinwire.training.distributed import ProcessLost
    from thinwire.workflows.train import timed_dry_run, train

    config = arguments.settings
    if arguments.dry_run:
        return timed_dry_run(config, arguments.device, RichProgress())
    if arguments.out is None:
        raise UserError("--out is missing; name the run directory to make: --out runs/NAME")
    resume = arguments.resume
    if resume and (stored := _stored_config(arguments.out)):
        _refuse_changes(config, stored, arguments.out)
    elif config != _defaults([]):  # the interrupted call had not come so far as to make its run
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


def show(console: Console, result: "TrainResult | TimedPlan") -> None:
    """The numbers of a training, or of a dry run."""
    from thinwire.workflows.train import TimedPlan

    if isinstance(result, TimedPlan):
        _show_plan(console, result)
    else:
        _show_training(console, result)


def _show_plan(console: Console, plan: "TimedPlan") -> None:
    """As it stands, but for what the memory adds up to and how long it would take, in words."""
    values = {name: value for name, value in plain(plan).items() if name not in ("memory_bytes", "seconds")}
    values["time"] = "does not fit in memory" if plan.seconds is None else f"about {duration(plan.seconds)}"
    parts = ", ".join(f"{value_text(n, 'bytes')} {name}" for name, n in plan.memory_bytes.items())
    values["memory"] = f"{value_text(sum(plan.memory_bytes.values()), 'bytes')} for each process: {parts}"
    show_any(console, values)


def _show_training(console: Console, result: "TrainResult") -> None:
    show_any(console, {name: value for name, value in plain(result).items() if name != "learned"})
    if not result.learned:
        console.print(
            f"This model has not learned: guessing by how often each token occurs does as well or better (held-out "
            f"loss {result.heldout_loss:.4g} against {result.unigram_loss:.4g} nats). Nothing found in it would "
            f"mean anything. Train longer, or into a new directory with a lower --train.learning_rate.",
            style="bold red",
        )


def _exit_code(result: "TrainResult | TimedPlan") -> int:
    """1 for a run that is no better than guessing by frequency: it is kept, and a script is told."""
    return 0 if getattr(result, "learned", True) else 1


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


VERB = Verb(
    name="train",
    summary="Train one model, sparse or dense, into a run directory.",
    usage="--out DIR [--recipe NAME] [--config FILE] [--GROUP.KEY VALUE ...]",
    example="thinwire train --recipe demo --out runs/sparse\n"
    "thinwire train --recipe demo --out runs/short --train.n_tokens 500000 --model.d_model 128\n"
    "thinwire train --recipe demo --print_config > run.yaml && thinwire train --config run.yaml --out runs/mine\n"
    "thinwire train --out runs/sparse --resume",
    add_arguments=_arguments,
    run=_run,
    show=show,
    resumes=True,
    exit_code=_exit_code,
)
