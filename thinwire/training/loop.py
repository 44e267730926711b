"""The training loop.

Source: Gao et al. 2025, section 2.1 and appendix "Training". Each step:

    1. learning rate: warm-up, linear decay, times sqrt(final density / current density)
    2. gradients rescaled to rms 1      \
    3. Adam                              | thinwire.training.optimizer
    4. projection to the largest weights |
    5. decoupled weight decay           /
"""

import math
import time
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from thinwire.data.batches import Batches
from thinwire.errors import UserError
from thinwire.model.gpt import GPT
from thinwire.progress import Progress, silent
from thinwire.sparsity.schedules import density_at, learning_rate_at
from thinwire.training.checkpoint import TrainState, save_checkpoint
from thinwire.training.config import RunConfig
from thinwire.training.evaluate import heldout_loss, next_token_loss
from thinwire.training.metrics import MetricsLog
from thinwire.training.optimizer import SparseOptimizer


class Diverged(UserError):
    """The loss is no longer a finite number."""


def schedule(config: RunConfig, step: int) -> tuple[float, float]:
    """(learning rate, density) of step `step`, 0-based."""
    t, n_steps = config.train, config.n_steps
    density = density_at(step, n_steps, t.density, t.anneal_start_frac, t.anneal_end_frac)
    return learning_rate_at(step, n_steps, t.learning_rate, t.warmup_frac, density, t.density), density


def train_step(
    model: GPT, optimizer: SparseOptimizer, windows: Int[Tensor, "B window"], learning_rate: float, density: float
) -> tuple[float, float]:
    """One step on one batch; returns (loss in nats, gradient rms before normalisation)."""
    optimizer.zero_grad()
    loss = next_token_loss(model, windows)
    loss.backward()
    rms = optimizer.step(learning_rate, density)
    return loss.item(), rms.item()


def train(
    run: Path,
    config: RunConfig,
    model: GPT,
    optimizer: SparseOptimizer,
    tokens: np.ndarray,
    heldout: Int[Tensor, "N window"],
    start: TrainState,
    progress: Progress = silent,
) -> TrainState:
    """Train from `start` to the end, writing metrics and checkpoints into `run`.

    Raises `Diverged` when the loss is not finite; the run keeps its last good checkpoint.
    """
    t, device = config.train, next(model.parameters()).device
    batches = Batches(tokens, t.batch_size, config.model.context, t.seed)
    log = MetricsLog(run / "metrics.jsonl", start.metrics_bytes, start.metrics_sha256)
    began = time.monotonic() - start.seconds
    state = start
    with progress(f"train {run.name}", total=config.n_steps, unit="step") as advance:
        advance(start.step)
        for step in range(start.step, config.n_steps):
            learning_rate, density = schedule(config, step)
            windows = torch.from_numpy(batches.at(step)).to(device)
            loss, rms = train_step(model, optimizer, windows, learning_rate, density)
            if not (math.isfinite(loss) and math.isfinite(rms)):
                log.close()
                raise Diverged(
                    f"loss {loss} at step {step}; the last good checkpoint is step {state.step} of {run}; "
                    f"try a lower train.learning_rate or a longer train.warmup_frac"
                )
            done = step + 1
            row = {"step": done, "tokens": done * windows[:, 1:].numel(), "loss": loss, "density": density}
            row |= {"learning_rate": learning_rate, "grad_rms": rms, "seconds": time.monotonic() - began}
            last = done == config.n_steps
            if done % t.eval_every_steps == 0 or last:
                row["heldout_loss"] = heldout_loss(model, heldout)
            log.append(row)
            if done % t.checkpoint_every_steps == 0 or last:
                state = TrainState(done, log.n_bytes, log.checksum, time.monotonic() - began, start.threads)
                save_checkpoint(run, model, optimizer, state)
            advance(1, loss=loss, density=density, rate=learning_rate)
    log.close()
    return state
