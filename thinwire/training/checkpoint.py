"""Checkpoints: one sealed directory each, from which training goes on as if never interrupted.

    checkpoints/step-00000600/  model.safetensors  optimizer.safetensors  state.json  manifest.json

The directory appears by one rename, so a kill leaves a whole checkpoint or none.
"""

import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from thinwire.errors import CorruptFile, MissingFile
from thinwire.model.checkpoint import write_tensors
from thinwire.model.gpt import GPT
from thinwire.storage import new_directory, read_sealed, to_json, write_atomic
from thinwire.training.optimizer import SparseOptimizer

KEPT = 2
"""Checkpoints that stay on disk: the last and, should it be damaged, the one before."""


@dataclass(frozen=True)
class TrainState:
    """Where training stands. The position in the data is the step: batches are a pure function of it."""

    step: int
    """Steps done."""
    metrics_bytes: int
    """Length of metrics.jsonl at this checkpoint; resuming cuts the file back to it."""
    metrics_sha256: str
    """Checksum of those bytes."""
    seconds: float
    """Wall time spent so far."""
    threads: int
    """CPU threads that the numbers were computed with."""


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


def save_checkpoint(run: Path, model: GPT, optimizer: SparseOptimizer, state: TrainState) -> Path:
    """Write a checkpoint and drop all but the last `KEPT`."""
    path = run / "checkpoints" / f"step-{state.step:08d}"
    if path.exists():
        return path
    with new_directory(path) as directory:
        write_tensors(directory / "model.safetensors", model.state_dict())
        write_tensors(directory / "optimizer.safetensors", optimizer.state_tensors())
        write_atomic(directory / "state.json", to_json(asdict(state)))
    for old in checkpoint_directories(run)[:-KEPT]:
        shutil.rmtree(old)
    return path


def read_state(checkpoint: Path) -> TrainState:
    """The TrainState of a checkpoint. Raises `MissingFile` or `CorruptFile`."""
    try:
        return TrainState(**json.loads(read_sealed(checkpoint, "state.json")))
    except TypeError as error:
        raise CorruptFile(f"{checkpoint / 'state.json'} is of another version ({error}); train again") from None
