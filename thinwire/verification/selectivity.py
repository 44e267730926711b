"""Selectivity: does taking the circuit out hurt this task, or everything?

The circuit's nodes are put at their means inside the whole model, as in necessity; the loss is measured on other tasks
and on held-out text. A removal that breaks everything shows that the model was broken, not where the task is done.
"""

from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from thinwire.circuits.ablation import ablate
from thinwire.circuits.prompts import Prompts, logit_difference, task_accuracy, task_loss
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Hook, identity
from thinwire.progress import Progress, silent
from thinwire.storage.records import Count, Loss
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding
from thinwire.verification.material import PAIRS_SEED, TaskMaterial
from thinwire.verification.subject import Subject
from thinwire.verification.variants import sample_pairs

ACCURACY = 0.9
"""Other tasks count when the whole model is right on this share of their prompts."""
FACTOR = 2.0
BATCH = 32
THRESHOLD = (
    f"loss rises at least {FACTOR:g} times as much on the own task as on the median other task that the model does"
)


@dataclass(frozen=True)
class LossChange:
    """Loss in nats before and after the circuit's nodes are taken out."""

    before: Loss
    after: Loss

    @property
    def rise(self) -> float:
        return self.after - self.before


@dataclass(frozen=True, kw_only=True)
class Selectivity(Finding):
    own: LossChange
    others: dict[str, LossChange]
    """Task -> change, for other tasks that the whole model does."""
    text: LossChange | None
    """Next-token loss on held-out text."""
    n_tokens: Count
    """Predicted tokens of held-out text."""


@torch.no_grad()
def selectivity(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Selectivity:
    """Losses with and without the circuit's nodes: own task, other tasks, held-out windows."""
    model, claim, prompts = subject.model, subject.claim, material.test_pairs(budget.pairs)
    hook = ablate(model, claim.nodes, subject.means)
    own = _change(model, prompts, hook)
    others = {name: sample_pairs(p, budget.other_pairs, PAIRS_SEED) for name, p in material.others.items()}
    done = {name: other for name, other in others.items() if name != claim.task and _does(model, other)}
    changes = {name: _change(model, other, hook) for name, other in done.items()}
    windows = None if material.windows is None else material.windows[: budget.text_windows]
    text = None if windows is None else LossChange(text_loss(model, windows), text_loss(model, windows, hook))
    middle = median(change.rise for change in changes.values()) if changes else None
    return Selectivity(
        passed=None if middle is None else own.rise >= FACTOR * middle and own.rise > 0,
        threshold=THRESHOLD,
        sentence=_sentence(own, middle, len(changes), text),
        n_pairs=prompts.n_pairs,
        own=own,
        others=changes,
        text=text,
        n_tokens=0 if windows is None else windows[:, 1:].numel(),
    )


def _does(model: GPT, prompts: Prompts) -> bool:
    return task_accuracy(logit_difference(model, prompts), prompts.sign) >= ACCURACY


def _change(model: GPT, prompts: Prompts, hook: Hook) -> LossChange:
    losses = [float(task_loss(logit_difference(model, prompts, t), prompts.sign)) for t in (identity, hook)]
    return LossChange(*losses)


@torch.no_grad()
def text_loss(model: GPT, windows: Int[Tensor, "N window"], hook: Hook = identity) -> float:
    """Mean next-token loss over windows, nats per token."""
    total = 0.0
    for batch in windows.split(BATCH):
        logits = model(batch[:, :-1], hook)
        total += float(F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="sum"))
    return total / windows[:, 1:].numel()


def _sentence(own: LossChange, middle: float | None, n_others: int, text: LossChange | None) -> str:
    on_text = "" if text is None else f" On held-out text it rises from {text.before:.3f} to {text.after:.3f}."
    if middle is None:
        return (
            f"Without the circuit the loss rises by {own.rise:.3f} on its own task; there is no other task at hand "
            f"that the model does.{on_text}"
        )
    return (
        f"Without the circuit the loss rises by {own.rise:.3f} on its own task and by {middle:.3f} on the median of "
        f"{n_others} other tasks.{on_text}"
    )
