"""The training loop.

Source: Gao et al. 2025, section 2.1 and appendix "Training". Each step:

    1. learning rate: warm-up, linear decay, times sqrt(final density / current density)
       gradients of the batch: summed over its parts, averaged over the processes
    2. gradients rescaled to rms 1      \
    3. Adam                              | thinwire.training.optimizer
    4. projection to the largest weights |
    5. decoupled weight decay           /
"""

import math
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, Integer
from torch import Tensor

from thinwire.data.batches import Batches
from thinwire.errors import UserError
from thinwire.model.gpt import GPT
from thinwire.progress import Progress, silent
from thinwire.sparsity.schedules import density_at, learning_rate_at
from thinwire.training.checkpoint import TrainState
from thinwire.training.config import Precision, RunConfig, TrainConfig
from thinwire.training.distributed import ALONE, Processes
from thinwire.training.evaluate import heldout_loss
from thinwire.training.journal import Journal
from thinwire.training.loss import next_token_loss
from thinwire.training.metrics import StepRow
from thinwire.training.modes import TrainOptimizer
from thinwire.training.savings import Savings
from thinwire.training.watchers import Watch, unwatched

CHECKED = ("loss", "grad_rms", "heldout_loss")
"""Numbers of a step that must stay finite."""
RECENT = 100
"""Steps whose mean loss is the usual one, for the spike guard."""


class Diverged(UserError):
    """Training has gone wrong: a number is not finite, or the loss has jumped."""


@dataclass(frozen=True)
class Training:
    """One training: what it works on, from where it starts, who takes part and who looks on."""

    path: Path
    """The run directory."""
    config: RunConfig
    model: GPT
    optimizer: TrainOptimizer
    tokens: Integer[np.ndarray, " n_tokens"]
    """What is trained on."""
    heldout: Int[Tensor, "N window"]
    """Windows behind the held-out losses of metrics.jsonl."""
    start: TrainState
    """Where `model` and `optimizer` stand."""
    processes: Processes = ALONE
    watch: Watch = unwatched
    progress: Progress = silent

    @property
    def tokens_per_step(self) -> int:
        """Of all processes together."""
        return self.config.train.batch_size * self.config.model.context


def schedule(config: RunConfig, step: int) -> tuple[float, float]:
    """(learning rate, density) of step `step`, 0-based."""
    t, n_steps = config.train, config.n_steps
    density = density_at(step, n_steps, t.density, t.anneal_start_frac, t.anneal_end_frac, t.anneal)
    return learning_rate_at(step, n_steps, t.learning_rate, t.warmup_frac, density, t.density), density


def train_step(
    model: GPT,
    optimizer: TrainOptimizer,
    windows: Int[Tensor, "share window"],
    learning_rate: float,
    density: float,
    micro_batches: int = 1,
    processes: Processes = ALONE,
    precision: Precision = "float32",
) -> tuple[float, float]:
    """One step on this process's share of a batch; returns (loss of the whole batch in nats, gradient rms before
    normalisation). The share is split into `micro_batches` equal parts, one after the other.

    With `bfloat16` matrix products are computed in it; weights, residual stream, norms and the loss stay float32.
    """
    optimizer.prepare(learning_rate, density)
    loss = torch.zeros((), device=windows.device)
    for part in windows.chunk(micro_batches):
        loss += _add_gradients(model, part, micro_batches, precision)
    processes.average_([loss, *optimizer.gradients()])
    rms = optimizer.step(learning_rate, density)
    return loss.item(), rms.item()


def _add_gradients(model: GPT, part: Int[Tensor, "B window"], n_parts: int, precision: Precision) -> Tensor:
    """One part's contribution to the loss; on return nothing of its graph is left."""
    with torch.autocast(part.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        loss = next_token_loss(model, part) / n_parts
    loss.backward()
    return loss.detach()


def train(training: Training) -> TrainState:
    """Train to the end, writing metrics and checkpoints into the run.

    Raises `Diverged` when a number is not finite or the loss jumps; the run keeps its last good checkpoint.
    """
    first, last = training.start.step, training.config.n_steps
    with closing(Journal(training.path, training.start, training.processes.first)) as journal:
        steps = _Steps(training, journal)
        with training.progress("first step, which compiles kernels", total=1) as advance:
            advance(1, **steps.take(first))
        steps.speed = Speed()
        with training.progress(f"train {training.path.name}", total=last, unit="step") as advance:
            advance(first + 1)
            for step in range(first + 1, last):
                advance(1, **steps.take(step))
    training.optimizer.release()
    return journal.state


class _Steps:
    """The steps of one training, one after the other, each with its metrics and, when it is due, its checkpoint."""

    def __init__(self, training: Training, journal: Journal) -> None:
        t = training.config.train
        self.training, self.journal = training, journal
        self.batches = Batches(training.tokens, t.batch_size, training.config.model.context, t.seed)
        self.speed = Speed()
        saved = journal.last.seconds_saved if journal.last else None
        self.savings = Savings(training.tokens_per_step // training.processes.count, saved or 0.0)

    def take(self, step: int) -> dict[str, float]:
        """Step `step`, 0-based; what the progress shows of it."""
        training, journal = self.training, self.journal
        config, model, optimizer, processes = training.config, training.model, training.optimizer, training.processes
        t = config.train
        learning_rate, density = schedule(config, step)
        windows = torch.from_numpy(processes.share(self.batches.at(step))).to(model.device)
        loss, rms = train_step(
            model, optimizer, windows, learning_rate, density, t.micro_batches, processes, config.precision
        )
        done, last = step + 1, step + 1 == config.n_steps
        row = StepRow(
            step=done,
            tokens=done * training.tokens_per_step,
            loss=loss,
            density=density,
            learning_rate=learning_rate,
            grad_rms=rms,
            **optimizer.row,
            seconds_saved=self.savings.after(optimizer.held) if optimizer.row else None,
        )
        check_step(row, journal, t)
        if done % t.eval_every_steps == 0 or last:
            row = replace(row, heldout_loss=heldout_loss(model, training.heldout))
            check_step(row, journal, t)
        training.watch(journal.append(row))
        keep = t.keep_every_steps > 0 and done % t.keep_every_steps == 0 and not last
        if done % t.checkpoint_every_steps == 0 or keep or last:
            processes.check_same(list(model.parameters()))
            journal.save(model, optimizer, keep)
        shown = {"loss": loss, "density": density, "rate": learning_rate}
        return shown | {"tokens/s": round(self.speed.of(training.tokens_per_step))}


def check_step(row: StepRow, journal: Journal, config: TrainConfig) -> None:
    """Raises `Diverged`, saying what is left and what to try, when a number of a step is not finite or, with
    `config.spike_factor`, when the loss is that many times the mean of the steps before.
    """
    wrong = [f"{name} {value}" for name in CHECKED if not math.isfinite(value := getattr(row, name) or 0.0)]
    recent = [before.loss for before in journal.rows[-RECENT:]]
    if not wrong and config.spike_factor and len(recent) == RECENT:
        usual = sum(recent) / RECENT
        if row.loss > config.spike_factor * usual:
            wrong = [f"loss {row.loss:.4g} against {usual:.4g}, the mean of {RECENT} steps,"]
    if wrong:
        step = journal.state.step
        kept = f"the last good checkpoint is step {step}" if step else "there is no checkpoint yet"
        raise Diverged(
            f"{wrong[0]} at step {row.step} of {journal.run}; {kept}; train into a new directory with a "
            f"train.learning_rate below {config.learning_rate:g} or a train.warmup_frac above {config.warmup_frac:g}"
        )


class Speed:
    """Something per second, over about the last ten steps."""

    def __init__(self) -> None:
        self._last, self._seconds = time.monotonic(), 0.0

    def of(self, amount: int) -> float:
        """The rate, when `amount` was done since the last call."""
        now = time.monotonic()
        weight = 0.1 if self._seconds else 1.0
        self._seconds += weight * (now - self._last - self._seconds)
        self._last = now
        return amount / self._seconds
