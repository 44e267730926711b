"""Checkpoints: one sealed directory each, from which training goes on as if never interrupted.

    checkpoints/step-00000600/  model.safetensors  optimizer.safetensors  state.json  manifest.json

The directory appears and goes by one rename each, so a kill leaves a whole checkpoint or none. Nothing in it depends
on the clock: the same settings give the same bytes. The last two stay; with `keep_every_steps` the weights of steps in
between stay besides, for good:

    steps/00000600/  model.safetensors  manifest.json
"""

import re
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from thinwire.errors import MissingFile
from thinwire.model.gpt import GPT
from thinwire.storage.files import new_directory, read_sealed_record, record_json, write_atomic
from thinwire.storage.records import Count, Sha256, Threads
from thinwire.storage.tensors import write_tensors
from thinwire.training.metrics import NO_ROWS
from thinwire.training.modes import TrainOptimizer

KEPT = 2
"""Checkpoints that stay on disk: the last and, should it be damaged, the one before."""


@dataclass(frozen=True)
class TrainState:
    """Where training stands. The position in the data is the step: batches are a pure function of it."""

    step: Count
    """Steps done."""
    metrics_sha256: Sha256
    """Checksum of metrics.jsonl's first `step` rows, their wall times left out; resuming cuts the file back to them."""
    threads: Threads
    """CPU threads of each process that the numbers were computed with."""
    processes: Threads = 1
    """Processes that shared each batch. With other numbers of threads or processes, sums round otherwise."""


START = TrainState(0, NO_ROWS, 1)
"""Before the first step."""


def checkpoint_directories(run: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first."""
    found = [p for p in (run / "checkpoints").glob("step-*") if re.fullmatch(r"step-\d{8}", p.name)]
    return sorted(found)


def latest_checkpoint(run: Path) -> Path:
    """The last checkpoint of a run. Raises `MissingFile` when there is none."""
    found = checkpoint_directories(run)
    if not found:
        raise MissingFile(f"{run} holds no checkpoint; train it with: thinwire train --resume --out {run}")
    return found[-1]


def save_checkpoint(run: Path, model: GPT, optimizer: TrainOptimizer, state: TrainState) -> Path:
    """Write a checkpoint and drop all but the last `KEPT`."""
    path = run / "checkpoints" / f"step-{state.step:08d}"
    if path.exists():
        return path
    with new_directory(path) as directory:
        write_tensors(directory / "model.safetensors", model.state_dict())
        write_tensors(directory / "optimizer.safetensors", optimizer.state_tensors())
        write_atomic(directory / "state.json", record_json(state))
    for old in checkpoint_directories(run)[:-KEPT]:
        rmtree(old.rename(old.with_name(f".{old.name}.old.tmp")))
    return path


def kept_directory(run: Path, step: int) -> Path:
    """Where the weights of a step are kept, and what is found out about them."""
    return run / "steps" / f"{step:08d}"


def keep_weights(run: Path, model: GPT, step: int) -> None:
    """Keep the weights of a step, by their nonzeros where that is smaller. What a resumed run kept before stays."""
    path = kept_directory(run, step)
    if not path.exists():
        with new_directory(path) as directory:
            write_tensors(directory / "model.safetensors", model.state_dict(), sparse=True)


def kept_steps(run: Path) -> list[int]:
    """Steps whose weights are kept, ascending."""
    return sorted(int(p.name) for p in (run / "steps").glob("*") if re.fullmatch(r"\d{8}", p.name))


def remove_leftovers(run: Path) -> None:
    """Remove what a kill left of checkpoints that were being written or dropped."""
    for leftover in (run / "checkpoints").glob(".step-*.tmp"):
        rmtree(leftover, ignore_errors=True)


def read_state(checkpoint: Path) -> TrainState:
    """The TrainState of a checkpoint. Raises `MissingFile` or `CorruptFile`."""
    return read_sealed_record(TrainState, checkpoint, "state.json")
