"""Train a model into a run directory, or go on with one."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thinwire.data.batches import heldout_windows, n_windows
from thinwire.data.shards import PreparedData, prepare
from thinwire.errors import CorruptFile, MissingFile, UserError
from thinwire.model.checkpoint import fingerprint, load_model
from thinwire.model.gpt import GPT
from thinwire.model.structure import count_parameters, sparse_parameters
from thinwire.progress import Progress, silent
from thinwire.runs.device import pick_device
from thinwire.runs.environment import memory_bytes, usable_cores
from thinwire.runs.run import Run, create_run, load_run
from thinwire.runs.trained import FINAL, FINAL_TOKENS, Final
from thinwire.sparsity.projection import count_nonzero
from thinwire.storage.files import add_sealed, check_unused, record_json
from thinwire.storage.tensors import read_tensors
from thinwire.training import forecast
from thinwire.training.allocator import return_freed_memory
from thinwire.training.checkpoint import START, TrainState, checkpoint_directories, read_state, remove_leftovers
from thinwire.training.config import Mode, RunConfig
from thinwire.training.distributed import Processes, joined, launched, on_this_machine
from thinwire.training.evaluate import heldout_loss, unigram_loss
from thinwire.training.loop import Training
from thinwire.training.loop import train as train_loop
from thinwire.training.modes import optimizer_for
from thinwire.training.savings import summary
from thinwire.training.threads import use_threads
from thinwire.training.watchers import watching

GIB = 1 << 30
WEIGHT_BYTES = 4
CURVE_TOKENS = 1 << 15
"""Held-out tokens behind each point of the curve in metrics.jsonl."""


@dataclass(frozen=True)
class TrainResult:
    """What `thinwire train` prints."""

    run: str
    steps: int
    tokens: int
    seconds: float | None
    """Of all steps; None where there were none."""
    heldout_loss: float
    """Nats per token."""
    unigram_loss: float
    """What guessing by the tokens' frequencies costs."""
    learned: bool
    """Whether the model does better than that; else it is good for nothing."""
    heldout_in_training: float | None
    """Share of held-out windows that stand in the training text; None where nobody counted."""
    fingerprint: str
    mode: Mode
    parameters: int
    nonzero: int
    sparse_parameters: int
    """Of the tensors that training keeps sparse."""
    sparse_nonzero: int
    savings: Mapping[str, int | float]
    """What the mode spared (`training.savings.summary`); empty for `exact`."""

    def to_dict(self) -> dict[str, Any]:
        """As `--json` prints it: savings stand beside the rest."""
        values = asdict(self)
        return values | values.pop("savings")


@dataclass(frozen=True)
class Plan:
    """What a training would do."""

    recipe: str
    parameters: int
    nonzero: int
    steps: int
    tokens: int
    memory_bytes: Mapping[str, int]
    """Of one process, by what for."""
    threads: int


@dataclass(frozen=True)
class TimedPlan(Plan):
    """What `thinwire train --dry-run` prints."""

    seconds: float | None
    """Of the whole training; None where it would not fit in memory."""


def resolve(config: RunConfig) -> RunConfig:
    """`config` with the number of threads that this machine gives each process: all its cores, or, for a process alone,
    as many as `OMP_NUM_THREADS` says."""
    cores = max(1, usable_cores() // on_this_machine())
    chosen = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if launched() == 1 and chosen.isascii() and chosen.isdigit():  # torchrun sets it to 1 by itself
        cores = min(max(1, int(chosen[:9])), cores)
    return replace(config, threads=config.threads or cores)


def train(
    config: RunConfig | None,
    out: str | Path,
    *,
    resume: bool = False,
    device: str = "auto",
    watchers: Sequence[str] = (),
    progress: Progress = silent,
) -> TrainResult:
    """Train `config` into the new directory `out`, or, with `resume`, go on with what `out` holds.

    A resumed run follows its own config.yaml and ends with the weights that an uninterrupted run gives. Under
    torchrun all processes train it together; only the first shows progress.
    A run that has not `learned` is kept.
    Raises `UserError` when `out` holds another run or the model is too large for this machine, `Diverged` when the loss
    is not finite, `ProcessLost` when another process has ended.
    """
    out, run = Path(out), load_run(out, device) if resume else None
    config = run.config if run else config
    if config is None:
        raise UserError("nothing to train: give a recipe or a config file")
    if not isinstance(config, RunConfig):
        raise UserError(
            f"config is a {type(config).__name__}; give a RunConfig, such as thinwire.training.recipes.recipe('demo')"
        )
    config = resolve(config)
    _check_shares(config, launched())
    where = pick_device(device)
    _check_size(config, where)
    _settle(config, where)
    with joined(where) as processes:
        if run is None:
            check_unused(out)
        progress = progress if processes.first else silent
        data = processes.first_then_all(lambda: prepare(config.data, config.model.vocab_size, progress=progress))
        for stream in (data.train, data.heldout):
            n_windows(len(stream), config.model.context)  # raises before anything is written
        if run is None:
            processes.on_first(lambda: create_run(out, config, data))
            run = load_run(out, device)
        _check_same_text(run, data)
        training = _take_up(run, config, data, processes, progress)
        watchers = watchers if processes.first else ()
        with watching(watchers, out, config, training.start.step) as watch:
            state = _finish(replace(training, watch=watch))
        return _close(run, training, state)


def _settle(config: RunConfig, device: torch.device) -> None:
    """Threads and memory as the config says. On CPU an operation that may round otherwise next time is an error; GPUs
    keep their faster ones."""
    use_threads(config.threads)
    if config.freed_memory == "returned":
        return_freed_memory()
    mode = "error" if device.type == "cpu" else "default"
    torch.set_deterministic_debug_mode(mode)  # use_deterministic_algorithms does the same and imports a compiler


def _check_shares(config: RunConfig, n_processes: int) -> None:
    """Every process gets equally many rows of a batch, and so does every part of its share."""
    t = config.train
    if t.batch_size % (n_processes * t.micro_batches):
        raise UserError(
            f"train.batch_size {t.batch_size} is not a multiple of {n_processes} processes x train.micro_batches "
            f"{t.micro_batches}; start another number of processes"
        )


def _check_size(config: RunConfig, device: torch.device) -> None:
    """Refuse what cannot be held before anything is built; what else a training needs `--dry-run` foretells."""
    needed, room = WEIGHT_BYTES * config.model.n_parameters, _room(device)
    if needed > room:
        raise UserError(
            f"the weights alone take {needed / GIB:,.0f} GiB and {device} has room for {room / GIB:,.0f}; lower "
            f"model.n_layer, model.d_model or model.vocab_size"
        )


def _check_same_text(run: Run, data: PreparedData) -> None:
    if run.corpus.sha256 != data.corpus_manifest.sha256:
        raise UserError(
            f"the corpus has changed since {run.path} was started; restore it, or train into a new directory"
        )
    if run.tokenizer.sha256 != data.tokenizer.sha256:
        was = run.environment.versions["tokenizers"]
        raise UserError(
            f"{run.path} was started with tokenizers {was}, which splits otherwise; install that version again"
        )


def _take_up(run: Run, config: RunConfig, data: PreparedData, processes: Processes, progress: Progress) -> Training:
    """The training from the last checkpoint on, or from step 0."""
    context, t = config.model.context, config.train
    checkpoints = checkpoint_directories(run.path)
    if checkpoints:
        state, weights, moments = _read(checkpoints[-1])
        model = load_model(config.model, weights, str(checkpoints[-1]))
    else:
        torch.manual_seed(t.seed)
        state, moments, model = replace(START, threads=config.threads), None, GPT(config.model)
    optimizer = optimizer_for(model.to(run.device), t)
    if moments is not None:
        optimizer.load_state_tensors(moments, state.step)
    model.use_costs(run.costs)
    windows = heldout_windows(data.heldout, max(CURVE_TOKENS, context), context)
    return Training(
        path=run.path,
        config=config,
        model=model,
        optimizer=optimizer,
        tokens=data.train,
        heldout=torch.from_numpy(windows).to(run.device),
        start=replace(state, threads=config.threads, processes=processes.count),
        processes=processes,
        progress=progress,
    )


def _read(checkpoint: Path) -> tuple[TrainState, dict[str, Tensor], dict[str, Tensor]]:
    """(state, weights, moments). A damaged file's error also says how to go on without this checkpoint."""
    try:
        state, weights = read_state(checkpoint), read_tensors(checkpoint, "model.safetensors")
        return state, weights, read_tensors(checkpoint, "optimizer.safetensors")
    except (CorruptFile, MissingFile) as error:
        raise type(error)(f"{error}, or remove {checkpoint} to resume from the checkpoint before it") from None


def _finish(training: Training) -> TrainState:
    """All steps that are left; where there are none, what a kill left is tidied up."""
    if training.start.step == training.config.n_steps:
        remove_leftovers(training.path)
        return training.start
    try:
        return train_loop(training)
    except torch.OutOfMemoryError:
        parts = training.config.train.micro_batches
        raise UserError(
            f"the memory of {training.model.device} is too small; train into a new directory with train.micro_batches "
            f"above {parts} (thinwire train --dry-run foretells the memory), or on more processes"
        ) from None


def _close(run: Run, training: Training, state: TrainState) -> TrainResult:
    """Measure the trained model and keep what was found."""
    model = training.model.requires_grad_(False)
    model.use_costs(None)  # the loss that a run reports is the one `eval` finds
    rows, windows = run.metrics, run.windows(FINAL_TOKENS)
    loss = heldout_loss(model, windows, training.progress)
    unigram = unigram_loss(training.tokens, windows, training.config.model.vocab_size)
    final = Final(fingerprint(model), loss, windows[:, 1:].numel())
    if training.processes.first:
        add_sealed(run.path, FINAL, record_json(final))
    return TrainResult(
        run=str(run.path),
        steps=state.step,
        tokens=state.step * training.tokens_per_step,
        seconds=rows[-1].seconds if rows else None,
        heldout_loss=loss,
        unigram_loss=unigram,
        learned=loss < unigram,
        heldout_in_training=run.corpus.heldout_in_training,
        fingerprint=final.fingerprint,
        mode=training.config.train.mode,
        **count_parameters(model),
        savings=summary(rows),
    )


def dry_run(config: RunConfig) -> Plan:
    """What `train` would do. Writes nothing."""
    config = resolve(config)
    _check_shares(config, launched())
    use_threads(config.threads)
    with torch.device("meta"):
        model = GPT(config.model)
    n_parameters = sum(p.numel() for p in model.parameters())
    sparse = {p.name: p.value for p in sparse_parameters(model)}
    kept = sum(count_nonzero(p.numel(), config.train.density) for p in sparse.values())
    dense = n_parameters - sum(p.numel() for p in sparse.values())
    return Plan(
        recipe=config.recipe,
        parameters=n_parameters,
        nonzero=kept + dense,
        steps=config.n_steps,
        tokens=config.n_steps * config.train.batch_size * config.model.context,
        memory_bytes=forecast.memory(config, n_parameters, launched()),
        threads=config.threads,
    )


def timed_dry_run(config: RunConfig, device: str = "auto", progress: Progress = silent) -> TimedPlan:
    """`dry_run`, and how long it would take: three steps are taken on random tokens. Writes nothing."""
    plan, where = dry_run(config), pick_device(device)
    fits = sum(plan.memory_bytes.values()) < _room(where)
    seconds = forecast.seconds(resolve(config), where, launched(), progress) if fits else None
    return TimedPlan(**vars(plan), seconds=seconds)


def _room(device: torch.device) -> float:
    """Bytes that a training may take on `device`; infinity where nobody can tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return 0.8 * (memory_bytes() or math.inf)
