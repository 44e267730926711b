"""Train a model into a run directory, or go on with one."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from thinwire.data.batches import heldout_windows, n_windows
from thinwire.data.manifest import heldout_in_training
from thinwire.data.shards import PreparedData, prepare
from thinwire.errors import CorruptFile, MissingFile, UserError
from thinwire.model.checkpoint import fingerprint, load_model
from thinwire.model.gpt import GPT
from thinwire.model.structure import count_parameters, sparse_parameters
from thinwire.progress import Progress, silent
from thinwire.runs.device import pick_device
from thinwire.runs.environment import memory_bytes, usable_cores
from thinwire.runs.run import create_run, load_run
from thinwire.runs.trained import FINAL_TOKENS
from thinwire.sparsity.projection import count_nonzero
from thinwire.storage.files import add_sealed, sha256, to_json
from thinwire.storage.tensors import read_tensors
from thinwire.training import forecast
from thinwire.training.allocator import return_freed_memory
from thinwire.training.checkpoint import TrainState, checkpoint_directories, read_state, remove_leftovers
from thinwire.training.config import RunConfig
from thinwire.training.distributed import Processes, joined, launched, on_this_machine
from thinwire.training.evaluate import heldout_loss
from thinwire.training.loop import train as train_loop
from thinwire.training.modes import Optimizer, optimizer_for
from thinwire.training.savings import summary
from thinwire.training.threads import use_threads
from thinwire.training.watchers import Watch, watching

CURVE_TOKENS = 1 << 15
"""Held-out tokens behind each point of the curve in metrics.jsonl."""


def resolve(config: RunConfig) -> RunConfig:
    """`config` with the number of threads that this machine gives each process."""
    return replace(config, threads=config.threads or max(1, usable_cores() // on_this_machine()))


def train(
    config: RunConfig | None,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    watchers: Sequence[str] = (),
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train `config` into the new directory `out`, or, with `resume`, go on with what `out` holds.

    A resumed run follows its own config.yaml and ends with the weights that an uninterrupted run gives. Under
    torchrun all processes train it together; only the first shows progress.
    Raises `UserError` when `out` holds another run, `Diverged` when the loss is not finite, `ProcessLost` when
    another process has ended.
    """
    if resume:
        config = load_run(out, device).config
    elif config is None:
        raise UserError("nothing to train: give a recipe or a config file")
    config = resolve(config)
    _check_shares(config, launched())
    use_threads(config.threads)
    if config.freed_memory == "returned":
        return_freed_memory()
    where = pick_device(device)
    _repeat_exactly(where)
    with joined(where) as processes:
        progress = progress if processes.first else silent
        data = processes.first_then_all(lambda: prepare(config.data, config.model.vocab_size, progress=progress))
        for stream in (data.train, data.heldout):
            n_windows(len(stream), config.model.context)  # raises before anything is written
        if not resume:
            processes.on_first(lambda: create_run(out, config, data))
        _check_same_text(out, data)
        model, optimizer, state = _take_up(out, config, device)
        model.use_costs(load_run(out, device).costs)
        state = replace(state, threads=config.threads, processes=processes.count)
        watchers = watchers if processes.first else ()
        with watching(watchers, out, config, state.step) as watch:
            state = _finish(out, config, data, model, optimizer, state, progress, processes, watch)
    model.requires_grad_(False).use_costs(None)  # the loss that a run reports is the one `eval` finds
    run = load_run(out, device)
    rows, windows = run.metrics, run.windows(FINAL_TOKENS)
    loss = heldout_loss(model, windows, progress)
    final = {"fingerprint": fingerprint(model), "heldout_loss": loss, "heldout_tokens": windows[:, 1:].numel()}
    if processes.first:
        add_sealed(out, "final.json", to_json(final))
    return {
        "run": str(out),
        "steps": state.step,
        "tokens": state.step * config.train.batch_size * config.model.context,
        "seconds": rows[-1]["seconds"] if rows else None,
        "heldout_loss": loss,
        "heldout_in_training": heldout_in_training(data.corpus_manifest),
        "fingerprint": final["fingerprint"],
        "mode": config.train.mode,
        **summary(rows),
        **count_parameters(model),
    }


def _repeat_exactly(device: torch.device) -> None:
    """On CPU an operation that may round otherwise next time is an error; GPUs keep their faster ones."""
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


def _check_same_text(out: Path, data: PreparedData) -> None:
    run = load_run(out)
    if run.corpus["sha256"] != data.corpus_manifest["sha256"]:
        raise UserError(f"the corpus has changed since {out} was started; restore it, or train into a new directory")
    if run.tokenizer.sha256 != data.tokenizer.sha256:
        was = run.environment["versions"]["tokenizers"]
        raise UserError(f"{out} was started with tokenizers {was}, which splits otherwise; install that version again")


def _take_up(out: Path, config: RunConfig, device: str) -> tuple[GPT, Optimizer, TrainState]:
    """Model, optimizer and state of the last checkpoint, or of step 0."""
    where, t = pick_device(device), config.train
    checkpoints = checkpoint_directories(out)
    if not checkpoints:
        torch.manual_seed(t.seed)
        model = GPT(config.model).to(where)
        return model, optimizer_for(model, t), _start(config)
    try:
        state = read_state(checkpoints[-1])
        weights = read_tensors(checkpoints[-1], "model.safetensors")
        moments = read_tensors(checkpoints[-1], "optimizer.safetensors")
    except (CorruptFile, MissingFile) as error:
        raise type(error)(f"{error}, or remove {checkpoints[-1]} to resume from the checkpoint before it") from None
    model = load_model(config.model, weights, str(checkpoints[-1])).to(where)
    optimizer = optimizer_for(model, t)
    optimizer.load_state_tensors(moments, state.step)
    return model, optimizer, state


def _start(config: RunConfig) -> TrainState:
    return TrainState(step=0, metrics_sha256=sha256(b""), threads=config.threads)


def _finish(
    out: Path,
    config: RunConfig,
    data: PreparedData,
    model: GPT,
    optimizer: Optimizer,
    state: TrainState,
    progress: Progress,
    processes: Processes,
    watch: Watch,
) -> TrainState:
    if state.step == config.n_steps:
        remove_leftovers(out)
        return state
    device = model.device
    heldout = torch.from_numpy(
        heldout_windows(data.heldout, max(CURVE_TOKENS, config.model.context), config.model.context)
    ).to(device)
    try:
        return train_loop(out, config, model, optimizer, data.train, heldout, state, progress, processes, watch)
    except torch.OutOfMemoryError:
        parts = config.train.micro_batches
        raise UserError(
            f"the memory of {device} is too small; train into a new directory with train.micro_batches above {parts} "
            f"(thinwire train --dry-run foretells the memory), or on more processes"
        ) from None


def dry_run(
    config: RunConfig, device: str = "auto", probe: bool = False, progress: Progress = silent
) -> dict[str, Any]:
    """What `train` would do: parameters, nonzeros, tokens and the memory of one process, in bytes. Writes nothing.

    With `probe`, also how long it would take: three steps are taken on random tokens. `seconds` is None where they
    would not fit in memory.
    """
    config = resolve(config)
    _check_shares(config, launched())
    use_threads(config.threads)
    with torch.device("meta"):
        model = GPT(config.model)
    n_parameters = sum(p.numel() for p in model.parameters())
    sparse = {p.name: p.value for p in sparse_parameters(model)}
    kept = sum(count_nonzero(p.numel(), config.train.density) for p in sparse.values())
    dense = n_parameters - sum(p.numel() for p in sparse.values())
    memory = forecast.memory(config, n_parameters, launched())
    plan = {
        "recipe": config.recipe,
        "parameters": n_parameters,
        "nonzero": kept + dense,
        "steps": config.n_steps,
        "tokens": config.n_steps * config.train.batch_size * config.model.context,
        "memory_bytes": memory,
        "threads": config.threads,
    }
    if probe:
        where = pick_device(device)
        fits = sum(memory.values()) < _room(where)
        plan["seconds"] = forecast.seconds(config, where, launched(), progress) if fits else None
    return plan


def _room(device: torch.device) -> float:
    """Bytes that a training may take on `device`; infinity where nobody can tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return 0.8 * (memory_bytes() or math.inf)
