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
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from thinwire.data.batches import Batches
from thinwire.errors import UserError
from thinwire.model.gpt import GPT
from thinwire.progress import Progress, silent
from thinwire.sparsity.schedules import density_at, learning_rate_at
from thinwire.training.checkpoint import TrainState, remove_leftovers, save_checkpoint
from thinwire.training.config import RunConfig
from thinwire.training.evaluate import heldout_loss, next_token_loss
from thinwire.training.metrics import WALL_TIME, MetricsLog
from thinwire.training.optimizer import SparseOptimizer

CHECKED = ("loss", "grad_rms", "heldout_loss")
"""Numbers of a step that must stay finite."""


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
    state = start
    with (
        closing(MetricsLog(run / "metrics.jsonl", start.step, start.metrics_sha256)) as log,
        progress(f"train {run.name}", total=config.n_steps, unit="step") as advance,
    ):
        remove_leftovers(run)
        clock = Clock(log.rows)
        advance(start.step)
        for step in range(start.step, config.n_steps):
            learning_rate, density = schedule(config, step)
            windows = torch.from_numpy(batches.at(step)).to(device)
            loss, rms = train_step(model, optimizer, windows, learning_rate, density)
            done, last = step + 1, step + 1 == config.n_steps
            row = {"step": done, "tokens": done * windows[:, 1:].numel(), "loss": loss, "density": density}
            row |= {"learning_rate": learning_rate, "grad_rms": rms}
            if math.isfinite(loss) and (done % t.eval_every_steps == 0 or last):
                row["heldout_loss"] = heldout_loss(model, heldout)
            _check_finite(row, config, run, state)
            log.append(row | {WALL_TIME: clock.seconds()})
            if done % t.checkpoint_every_steps == 0 or last:
                log.sync()
                state = replace(state, step=done, metrics_sha256=log.checksum)
                save_checkpoint(run, model, optimizer, state)
            speed = {"tokens/s": round(clock.rate(windows[:, 1:].numel()))}
            advance(1, loss=loss, density=density, rate=learning_rate, **speed)
    return state


def _check_finite(row: dict[str, Any], config: RunConfig, run: Path, state: TrainState) -> None:
    """Raises `Diverged` when a number of a step is not finite, saying what is left and what to try."""
    wrong = [f"{name} {row[name]}" for name in CHECKED if not math.isfinite(row.get(name, 0.0))]
    if wrong:
        kept = f"the last good checkpoint is step {state.step}" if state.step else "there is no checkpoint yet"
        raise Diverged(
            f"{wrong[0]} at step {row['step']} of {run}; {kept}; train into a new directory with a "
            f"train.learning_rate below {config.train.learning_rate:g} or a longer train.warmup_frac"
        )


class Clock:
    """Wall time of a run, the time before a resume included, and the rate of the last steps."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._last = time.monotonic()
        self._began = self._last - (rows[-1][WALL_TIME] if rows else 0.0)
        self._step_seconds = 0.0

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def rate(self, amount: int) -> float:
        """`amount` per step as a rate per second, over about the last ten steps."""
        now = time.monotonic()
        weight = 0.1 if self._step_seconds else 1.0
        self._step_seconds += weight * (now - self._last - self._step_seconds)
        self._last = now
        return amount / self._step_seconds
