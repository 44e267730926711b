"""Sufficiency: with everything outside the circuit at its mean, does the model still do the task?

Source: Gao et al. 2025, section 3.1. Two answer tokens alone hide degenerate circuits, so the whole
vocabulary's KL and the recovered share of the model's logit difference stand beside the task loss, and the same
circuit is scored in harsher worlds: zero ablation, resampled activations, the other kind of RMSNorm scales.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.circuits.ablation import isolate, zero_means
from thinwire.circuits.graph import Score
from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.circuits.patching import record
from thinwire.circuits.prompts import Prompts
from thinwire.circuits.score import difference_of, last_logits, score
from thinwire.circuits.solved import CIRCUIT_ACCURACY, STANDARD_ERRORS
from thinwire.model.hooks import Hook, compose
from thinwire.progress import Progress, silent
from thinwire.storage.records import Count, Divergence, Loss, Number, Share
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import percent
from thinwire.verification.subject import Subject

ACCURACY = CIRCUIT_ACCURACY
"""The circuit, and the whole model, have to be right on this share of the prompts. What counts as *solved* asks more of
the model (`circuits.solved`): docs/verification.md says why."""
RECOVERED = (0.5, 2.0)


@dataclass(frozen=True)
class AloneScore:
    """The circuit alone, under one way to silence everything else."""

    loss: Loss
    accuracy: Share
    kl: Divergence
    """KL(full model || circuit) over the whole vocabulary, nats."""
    recovered: Number
    """Share of the model's mean logit difference in favour of the right answer."""


@dataclass(frozen=True, kw_only=True)
class Sufficiency(Finding):
    loss: Loss
    """Task loss with only the circuit's nodes and stated edges kept, nats, on test pairs, uncalibrated."""
    loss_error: Loss
    """Standard error of `loss` over pairs."""
    accuracy: Share
    kl: Divergence
    """KL(full model || circuit) over the whole vocabulary, nats."""
    kl_nothing_kept: Divergence
    """The same with every node removed: the scale of `kl`."""
    model_loss: Loss
    model_accuracy: Share
    recovered: Number
    """Share of the model's mean logit difference in favour of the right answer that the circuit reproduces."""
    target_loss: Loss
    all_edges: AloneScore | None
    """The same nodes with every nonzero weight between them; None where the circuit states all of these."""
    n_harsh_pairs: Count
    """Pairs behind the harsher worlds."""
    zero: AloneScore
    """Nodes outside at zero instead of their means."""
    resampled: AloneScore
    """Nodes outside as they are in the whole model on another prompt of the same length."""
    frozen_norms: AloneScore
    """Nodes outside at their means, every RMSNorm scale as it is in the whole model."""
    own_norms: AloneScore
    """Nodes outside at their means, every RMSNorm scale the circuit's own."""


def sufficiency(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Sufficiency:
    """Keep only the circuit and score what is left, on all test pairs.

    The harsher worlds are measured on `budget.pairs` of them; `seed` draws the prompts of `resampled`.
    """
    model, claim, prompts = subject.model, subject.claim, material.test
    whole = _Whole(prompts, last_logits(model, prompts))
    alone = subject.alone(prompts)
    logits = alone.logits()
    kept, of_model = whole.score(logits), score(whole.logits, whole.logits, prompts)
    induced = whole.score(replace(alone, removed=()).logits()) if alone.removed else None
    error = _standard_error(difference_of(logits, prompts), prompts)
    limit = claim.target_loss + STANDARD_ERRORS * error
    few = material.test_pairs(budget.pairs)
    harsh = _harsh(subject, few, seed)
    nothing = last_logits(model, prompts, isolate(model, {}, subject.means))
    return Sufficiency(
        passed=kept.loss <= limit and kept.accuracy >= ACCURACY and RECOVERED[0] <= kept.recovered <= RECOVERED[1],
        threshold=f"loss at most {limit:.3f} (target {claim.target_loss:g} + {STANDARD_ERRORS} standard errors), "
        f"accuracy at least {percent(ACCURACY)}, {percent(RECOVERED[0])} to {percent(RECOVERED[1])} of the difference "
        f"recovered",
        sentence=f"The circuit alone has a loss of {kept.loss:.3f} (whole model {of_model.loss:.3f}), is right on "
        f"{percent(kept.accuracy)} of {len(prompts.lengths)} prompts and recovers {percent(kept.recovered)} of the "
        f"model's difference."
        + ("" if induced is None else f" With all weights between its nodes the loss is {induced.loss:.3f}."),
        n_pairs=prompts.n_pairs,
        loss=kept.loss,
        loss_error=error,
        accuracy=kept.accuracy,
        kl=kept.kl,
        kl_nothing_kept=score(nothing, whole.logits, prompts).kl,
        model_loss=of_model.loss,
        model_accuracy=of_model.accuracy,
        recovered=kept.recovered,
        target_loss=claim.target_loss,
        all_edges=induced,
        n_harsh_pairs=few.n_pairs,
        zero=harsh.zero,
        resampled=harsh.resampled,
        frozen_norms=harsh.frozen_norms,
        own_norms=harsh.own_norms,
    )


@dataclass(frozen=True)
class _Whole:
    """The whole model on some prompts, which circuits are scored against."""

    prompts: Prompts
    logits: Float[Tensor, "P V"]

    @cached_property
    def effect(self) -> float:
        return self._in_favour(self.logits)

    def _in_favour(self, logits: Tensor) -> float:
        return float((difference_of(logits, self.prompts) * self.prompts.sign).mean())

    def score(self, logits: Float[Tensor, "P V"]) -> AloneScore:
        found: Score = score(logits, self.logits, self.prompts)
        recovered = self._in_favour(logits) / self.effect if self.effect else 0.0
        return AloneScore(found.loss, found.accuracy, found.kl, recovered)


@dataclass(frozen=True)
class _Harsh:
    """See `Sufficiency`."""

    zero: AloneScore
    resampled: AloneScore
    frozen_norms: AloneScore
    own_norms: AloneScore


@torch.no_grad()
def _harsh(subject: Subject, prompts: Prompts, seed: int) -> _Harsh:
    model, alone = subject.model, subject.alone(prompts)
    whole, seen = _Whole(prompts, last_logits(model, prompts)), record(model, prompts)[0]
    resample = compose(_resample(alone, seen, same_length_donors(prompts.lengths, seed)), alone.norms)
    return _Harsh(
        zero=whole.score(replace(alone, means=zero_means(model)).logits()),
        resampled=whole.score(last_logits(model, prompts, resample, alone.edges)),
        frozen_norms=whole.score(replace(alone, norm_scales="whole").logits()),
        own_norms=whole.score(replace(alone, norm_scales="own").logits()),
    )


def _standard_error(difference: Float[Tensor, " P"], prompts: Prompts) -> float:
    """Of the mean loss, with pairs as the units."""
    by_pair = F.softplus(-prompts.sign * difference).unflatten(0, (2, -1)).mean(0)
    return float(by_pair.std()) / math.sqrt(len(by_pair)) if len(by_pair) > 1 else 0.0


def same_length_donors(lengths: Int[Tensor, " P"], seed: int) -> Int[Tensor, " P"]:
    """For every prompt another one of the same length, in a random cycle; itself where it is the only one."""
    generator = torch.Generator().manual_seed(seed)
    donors = torch.empty(len(lengths), dtype=torch.long)
    for length in lengths.cpu().unique().tolist():
        rows = (lengths.cpu() == length).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)]
        donors[rows] = rows.roll(1)
    return donors.to(lengths.device)


def _resample(alone: IsolatedCircuit, seen: dict[str, Tensor], donors: Tensor) -> Hook:
    kept = alone.model.space.masks(alone.nodes, alone.model.device)

    def hook(site: str, x: Tensor) -> Tensor:
        return torch.where(kept[site], x, seen[site][donors]) if site in kept else x

    return hook
