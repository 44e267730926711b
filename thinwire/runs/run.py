"""A run directory: what one training made, with everything that later steps read back.

config.yaml  env.json  costs.json  tokenizer.json  corpus.json  heldout.bin  manifest.json   sealed at the start
metrics.jsonl  checkpoints/step-*/                                                           as training goes
final.json                                                                                   when it has ended
circuits/<task>/<settings hash>/<seed>/                                                      one sealed circuit each
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thinwire.data.batches import heldout_windows
from thinwire.data.shards import PreparedData
from thinwire.data.tokenizer import Tokenizer
from thinwire.errors import MissingFile, UserError
from thinwire.model.checkpoint import fingerprint, load_model
from thinwire.model.gpt import GPT
from thinwire.model.structure import linear_shapes
from thinwire.progress import Progress, silent
from thinwire.runs.environment import environment, use_threads
from thinwire.sparsity.costs import CostTable, default_costs, from_rows, measure_costs, to_rows
from thinwire.storage.files import MANIFEST, is_sealed, new_directory, read_sealed, to_json, write_atomic
from thinwire.storage.tensors import read_tensors
from thinwire.training.checkpoint import latest_checkpoint, read_state
from thinwire.training.config import RunConfig
from thinwire.training.config_file import from_yaml, to_yaml
from thinwire.training.evaluate import heldout_loss
from thinwire.training.metrics import read_metrics

HELDOUT_TOKENS = 1 << 19
"""Held-out tokens that travel with a run (1 MiB): means, losses and statistics need no corpus."""
FINAL_TOKENS = 1 << 17
"""Held-out tokens behind the loss that is reported."""
MEASURED_TOKENS = 2048
"""Tokens that the products of `costs: measured` are timed on, where a batch has as many."""


def pick_device(name: str) -> torch.device:
    """The device that `--device auto|cpu|cuda|mps` names. Raises `UserError` when it is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there.get(name):
        usable = ", ".join(kind for kind, is_there in there.items() if is_there)
        raise UserError(f"device '{name}' is not available here; there are: {usable}")
    if name == "cuda" and "LOCAL_RANK" in os.environ:  # one of several processes that torchrun started
        return torch.device(name, int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


def create_run(path: Path, config: RunConfig, data: PreparedData) -> None:
    """Make a run directory, whole or not at all. Raises `UserError` when `path` is not empty."""
    with new_directory(path) as directory:
        write_atomic(directory / "config.yaml", to_yaml(config))
        write_atomic(directory / "env.json", to_json(environment(config.train.seed, config.threads)))
        write_atomic(directory / "costs.json", to_json(to_rows(_cost_table(config))))
        write_atomic(directory / "tokenizer.json", data.tokenizer.to_json())
        write_atomic(directory / "corpus.json", to_json(data.corpus_manifest))
        write_atomic(directory / "heldout.bin", np.asarray(data.heldout[:HELDOUT_TOKENS], "<u2").tobytes())


def _cost_table(config: RunConfig) -> CostTable:
    shapes = linear_shapes(config.model)
    if config.costs == "shipped":
        return default_costs(shapes)
    return measure_costs(shapes, min(MEASURED_TOKENS, config.train.batch_size * config.model.context))


@dataclass(frozen=True)
class Run:
    """A trained (or still training) model and what it was made from. Files are read, and checked, when needed."""

    path: Path
    device: torch.device

    @cached_property
    def config(self) -> RunConfig:
        return from_yaml(read_sealed(self.path, "config.yaml"), self.path / "config.yaml")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_json(read_sealed(self.path, "tokenizer.json").decode())

    @cached_property
    def corpus(self) -> dict[str, Any]:
        return json.loads(read_sealed(self.path, "corpus.json"))

    @cached_property
    def environment(self) -> dict[str, Any]:
        return json.loads(read_sealed(self.path, "env.json"))

    @cached_property
    def costs(self) -> CostTable:
        """Costs of products that training chooses by; runs from before there were any take the dense ones."""
        return from_rows(json.loads(read_sealed(self.path, "costs.json"))) if is_sealed(self.path, "costs.json") else {}

    @cached_property
    def heldout(self) -> np.ndarray:
        """Held-out tokens, uint16, shape (n,)."""
        return np.frombuffer(read_sealed(self.path, "heldout.bin"), "<u2")

    @cached_property
    def model(self) -> GPT:
        """The model of the last checkpoint, frozen, in evaluation mode, on `device`."""
        checkpoint = latest_checkpoint(self.path)
        state = read_state(checkpoint)
        if state.step < self.config.n_steps:
            raise UserError(
                f"{self.path} stopped at step {state.step} of {self.config.n_steps}; "
                f"finish it with: thinwire train --resume --out {self.path}"
            )
        use_threads(min(self.config.threads or state.threads, torch.get_num_threads()))
        weights = read_tensors(checkpoint, "model.safetensors")
        model = load_model(self.config.model, weights, str(checkpoint / "model.safetensors"))
        return model.requires_grad_(False).eval().to(self.device)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.model)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return read_metrics(self.path / "metrics.jsonl")

    def heldout_loss(self, progress: Progress = silent) -> float:
        """Held-out loss of the final model, nats per token: as measured when training ended, else now."""
        if is_sealed(self.path, "final.json"):
            final = json.loads(read_sealed(self.path, "final.json"))
            if final["fingerprint"] == self.fingerprint:
                return final["heldout_loss"]
        return heldout_loss(self.model, self.windows(FINAL_TOKENS), progress)

    def windows(self, n_tokens: int) -> Tensor:
        """Held-out windows (N, T+1) that hold up to `n_tokens` tokens, at least one, on `device`."""
        context = self.config.model.context
        return torch.from_numpy(heldout_windows(self.heldout, max(n_tokens, context), context)).to(self.device)

    def circuit_directories(self) -> Iterator[Path]:
        """All sealed circuits of the run, sorted by task, settings and seed."""
        yield from sorted(p.parent for p in self.path.glob(f"circuits/*/*/*/{MANIFEST}"))


def load_run(path: str | Path, device: str = "auto") -> Run:
    """Open a run directory.

    Raises `MissingFile` when `path` holds no run, `CorruptFile` when its files do not match their checksums.
    """
    path = Path(path)
    if not (path / MANIFEST).exists():
        raise MissingFile(f"{path} holds no run; make one with: thinwire train --out {path}")
    run = Run(path, pick_device(device))
    _ = run.config
    return run
