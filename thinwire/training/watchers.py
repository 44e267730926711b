"""Who else is told of every step: TensorBoard and Weights & Biases, beside metrics.jsonl, which is always written.

A watcher is a function of one row of metrics.jsonl. It only looks: training is the same with and without it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thinwire.errors import MissingExtra, UserError
from thinwire.storage.records import plain
from thinwire.training.config import RunConfig
from thinwire.training.metrics import StepRow

Watch = Callable[[StepRow], None]


def unwatched(row: StepRow) -> None:
    """The watcher that does not look."""


@contextmanager
def watching(names: Sequence[str], run: Path, config: RunConfig, first_step: int) -> Iterator[Watch]:
    """All watchers of `names` as one; what they saw of steps after `first_step` before a resume is dropped.

    Raises `UserError` for an unknown name and for one whose extra is not installed.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(_watcher(name)(run, config, first_step)) for name in names]

        def watch(row: StepRow) -> None:
            for each in opened:
                each(row)

        yield watch


def _watcher(name: str) -> Callable[..., Any]:
    if name not in WATCHERS:
        raise UserError(f"unknown watcher '{name}'; there are: {', '.join(WATCHERS)}")
    return WATCHERS[name]


def _numbers(row: StepRow) -> dict[str, float]:
    """What was measured of a step, by name."""
    return {name: value for name, value in plain(row).items() if name != "step"}


@contextmanager
def tensorboard(run: Path, config: RunConfig, first_step: int) -> Iterator[Watch]:
    """Event files in RUN/tensorboard; see them with `tensorboard --logdir RUN`."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # pyright: ignore[reportPrivateImportUsage]
    except ImportError:
        raise MissingExtra("--watch tensorboard needs tensorboard", "tensorboard", "tensorboard") from None
    with SummaryWriter(str(run / "tensorboard"), purge_step=first_step + 1) as writer:

        def watch(row: StepRow) -> None:
            for name, value in _numbers(row).items():
                writer.add_scalar(f"train/{name}", value, row.step)

        yield watch


@contextmanager
def wandb(run: Path, config: RunConfig, first_step: int) -> Iterator[Watch]:
    """An offline run in RUN/wandb, to be sent with `wandb sync`; WANDB_MODE=online sends it at once."""
    try:
        import wandb as service
    except ImportError:
        raise MissingExtra("--watch wandb needs wandb", "wandb", "wandb") from None
    session = service.init(
        project=os.environ.get("WANDB_PROJECT", "thinwire"),
        name=run.name,
        dir=str(run),
        mode=os.environ.get("WANDB_MODE", "offline"),  # pyright: ignore[reportArgumentType]
        config=asdict(config),
    )
    try:
        yield lambda row: session.log(_numbers(row), step=row.step)
    finally:
        session.finish()


WATCHERS: dict[str, Callable[..., Any]] = {"tensorboard": tensorboard, "wandb": wandb}
