"""A run directory: what one training made, with everything that later steps read back.

config.yaml  env.json  costs.json  tokenizer.json  corpus.json  heldout.bin  manifest.json   sealed at the start
metrics.jsonl  checkpoints/step-*/                                                           as training goes
final.json                                                                                   when it has ended
circuits/<task>/<settings hash>/<seed>/                                                      one sealed circuit each
steps/<step>/                                                weights of a step that is kept, and circuits/ of its own
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from thinwire.data.manifest import CorpusManifest
from thinwire.data.shards import PreparedData
from thinwire.errors import MissingFile, UserError
from thinwire.model.config import ModelConfig
from thinwire.model.structure import linear_shapes
from thinwire.runs.device import pick_device
from thinwire.runs.environment import Environment, environment
from thinwire.runs.shipped import is_shipped, unpacked
from thinwire.runs.trained import HELDOUT_TOKENS, ORIGIN, WEIGHTS, Trained
from thinwire.sparsity.costs import CostTable, default_costs, measure_costs, to_rows
from thinwire.storage.files import (
    MANIFEST,
    is_sealed,
    new_directory,
    read_sealed,
    read_sealed_record,
    record_json,
    write_atomic,
)
from thinwire.training.checkpoint import (
    START,
    checkpoint_directories,
    kept_directory,
    kept_steps,
    latest_checkpoint,
    read_state,
)
from thinwire.training.config import RunConfig
from thinwire.training.config_file import from_yaml, to_yaml
from thinwire.training.metrics import StepRow, read_metrics
from thinwire.training.threads import use_threads

T = TypeVar("T", bound=Trained)
MEASURED_TOKENS = 2048
"""Tokens that the products of `costs: measured` are timed on, where a batch has as many."""


def create_run(path: Path, config: RunConfig, data: PreparedData) -> None:
    """Make a run directory, whole or not at all. Raises `UserError` when `path` is not empty."""
    with new_directory(path) as directory:
        write_atomic(directory / "config.yaml", to_yaml(config))
        write_atomic(directory / "env.json", record_json(environment(config.train.seed, config.threads)))
        write_atomic(directory / "costs.json", record_json(to_rows(_cost_table(config))))
        write_atomic(directory / "tokenizer.json", data.tokenizer.to_json())
        write_atomic(directory / "corpus.json", record_json(data.corpus_manifest))
        write_atomic(directory / "heldout.bin", np.asarray(data.heldout[:HELDOUT_TOKENS], "<u2").tobytes())


def _cost_table(config: RunConfig) -> CostTable:
    shapes = linear_shapes(config.model)
    if config.costs == "shipped":
        return default_costs(shapes)
    return measure_costs(shapes, min(MEASURED_TOKENS, config.train.batch_size * config.model.context))


@dataclass(frozen=True)
class Run(Trained):
    """A model that this package trained (or is still training), and the history of its training."""

    step: int | None = None
    """Whose weights these are, of those that `keep_every_steps` kept; None: the last step's."""

    @property
    def name(self) -> str:
        name = self.path.resolve().name
        return name if self.step is None else f"{name}@{self.step}"

    @property
    def home(self) -> Path:
        return self.path if self.step is None else kept_directory(self.path, self.step)

    @cached_property
    def config(self) -> RunConfig:
        return from_yaml(read_sealed(self.path, "config.yaml"), self.path / "config.yaml")

    @property
    def model_config(self) -> ModelConfig:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.config.model

    @property
    def threads(self) -> int:
        return self.config.threads or read_state(latest_checkpoint(self.path)).threads

    @cached_property
    def corpus(self) -> CorpusManifest:
        return read_sealed_record(CorpusManifest, self.path, "corpus.json")

    @cached_property
    def environment(self) -> Environment:
        return read_sealed_record(Environment, self.path, "env.json")

    @property
    def metrics(self) -> list[StepRow]:
        """The steps up to these weights. The last checkpoint vouches for those before it."""
        checkpoints = checkpoint_directories(self.path)
        state = read_state(checkpoints[-1]) if checkpoints else START
        rows = read_metrics(self.path / "metrics.jsonl", state.step, state.metrics_sha256)
        return rows if self.step is None else [row for row in rows if row.step <= self.step]

    def _weights(self) -> Path:
        """That of `step`, or of the last checkpoint. Raises `UserError` when training has not come to its end."""
        if self.step is not None:
            return self.home / WEIGHTS
        checkpoint = latest_checkpoint(self.path)
        state = read_state(checkpoint)
        if state.step < self.config.n_steps:
            raise UserError(
                f"{self.path} stopped at step {state.step} of {self.config.n_steps}; "
                f"finish it with: thinwire train --resume --out {self.path}"
            )
        return checkpoint / WEIGHTS


def load(path: str | Path, device: str = "auto", *, step: int | None = None) -> Trained:
    """Open the directory of a trained model: a `Run` if this package trained it. A name such as `headline` opens a
    model that comes with the package (`runs.shipped`).

    `step` takes the weights of that step, where `train.keep_every_steps` kept them; so does the path of what is kept of
    it, RUN/steps/00000600. Nothing about the process changes: who wants a number of threads sets it (`take_threads`,
    `torch.set_num_threads`).

    Raises `MissingFile` when `path` holds no model or not that step's, `CorruptFile` when its files do not match their
    checksums.
    """
    path = located(path)
    if step is None and path.parent.name == "steps" and path.name.isdecimal():
        path, step = path.parent.parent, int(path.name)
    if is_sealed(path, "demo.json"):
        raise MissingFile(f"{path} holds a demo of two runs; name one of them: {path / 'sparse'} or {path / 'dense'}")
    if not (path / MANIFEST).exists():
        raise MissingFile(f"{path} holds no run; make one with: thinwire train --out {path}")
    where = pick_device(device)
    if is_sealed(path, ORIGIN):
        if step is not None:
            raise UserError(f"{path} was imported and has no training; leave the step out")
        found = Trained(path, where)
    else:
        found = Run(path, where, _kept(path, step))
    _ = found.model_config
    return found


def located(path: str | Path) -> Path:
    """The directory that is meant: of a model that comes with the package, its copy in the cache."""
    return unpacked(Path(path).name) if is_shipped(Path(path)) else Path(path)


def _kept(run: Path, step: int | None) -> int | None:
    """`step`, if its weights are kept; None for the last one."""
    if step is None or step in kept_steps(run):
        return step
    steps = kept_steps(run)
    listed = (
        f"there are: {', '.join(map(str, steps))}" if steps else "train with --train.keep_every_steps N to keep some"
    )
    raise MissingFile(f"{run} keeps no weights of step {step}; {listed}; without a step the last is taken")


def load_run(path: str | Path, device: str = "auto", *, step: int | None = None) -> Run:
    """`load` of what this package trained. Raises `UserError` for an imported model, which has no training."""
    found = load(path, device, step=step)
    if not isinstance(found, Run):
        raise UserError(f"{path} was imported and has no training; `thinwire view {path}` shows its circuits")
    return found


def take_threads(run: T) -> T:
    """Compute with the number of threads that a model was made with, as far as this process has them; returns it."""
    if run.threads:
        use_threads(min(run.threads, torch.get_num_threads()))
    return run


def open_run(path: str | Path, device: str = "auto", *, step: int | None = None) -> Trained:
    """`load` with the threads that the model was made with: what a verb starts with."""
    return take_threads(load(path, device, step=step))


def opened(run: Trained | str | Path) -> Trained:
    """The model itself, or the one in the directory that is named."""
    return run if isinstance(run, Trained) else load(run)
