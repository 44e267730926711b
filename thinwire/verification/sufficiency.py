"""Sufficiency: with everything outside the circuit at its mean, does the model still do the task?

Source: Gao et al. 2025, section 3.1. Two answer tokens alone hide degenerate circuits, so the whole
vocabulary's KL and the recovered share of the model's logit difference stand beside the task loss, and the same
circuit is scored in three harsher worlds: zero ablation, resampled activations, frozen RMSNorm scales.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.circuits.ablation import Means, isolate, remove_edges, zero_means
from thinwire.circuits.edges import induced_edges
from thinwire.circuits.prompts import Prompts
from thinwire.circuits.score import difference_of, last_logits, score
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Hook, compose
from thinwire.verification.claim import Claim
from thinwire.verification.finding import Finding, percent
from thinwire.verification.variants import record, sample_pairs

ACCURACY = 0.9
"""The whole model, and the circuit, have to be right on this share of the prompts."""
RECOVERED = (0.5, 2.0)
STANDARD_ERRORS = 2


@dataclass(frozen=True)
class Alone:
    """The circuit alone, under one way to silence everything else, on at most `n_harsh` test pairs."""

    loss: float
    accuracy: float
    kl: float
    recovered: float


@dataclass(frozen=True, kw_only=True)
class Sufficiency(Finding):
    loss: float
    """Task loss with only the circuit kept, nats, on test pairs, uncalibrated."""
    loss_error: float
    """Standard error of `loss` over pairs."""
    accuracy: float
    kl: float
    """KL(full model || circuit) over the whole vocabulary, nats."""
    kl_nothing_kept: float
    """The same with every node removed: the scale of `kl`."""
    model_loss: float
    model_accuracy: float
    recovered: float
    """Share of the model's mean logit difference in favour of the right answer that the circuit reproduces."""
    target_loss: float
    n_pairs: int
    stated_edges: Alone | None
    """Besides, edges between the circuit's nodes that it does not state removed; None where it states all."""
    zero: Alone
    """Outside nodes at zero instead of their means."""
    resampled: Alone
    """Outside nodes as they are in the whole model on another prompt of the same length."""
    frozen_norms: Alone
    """Outside nodes at their means, every RMSNorm scale as it is in the whole model."""


@torch.no_grad()
def sufficiency(
    model: GPT, claim: Claim, means: Means, prompts: Prompts, n_harsh: int = 64, seed: int = 0
) -> Sufficiency:
    """Keep only the circuit's nodes and score what is left.

    The harsher worlds are measured on `n_harsh` pairs; `seed` draws these and the prompts of `resampled`.
    """
    whole = last_logits(model, prompts)
    logits = last_logits(model, prompts, isolate(model, claim.nodes, means))
    kept, of_model = score(logits, whole, prompts), score(whole, whole, prompts)
    recovered = _recovered(logits, whole, prompts)
    error = _standard_error(difference_of(logits, prompts), prompts)
    limit = claim.target_loss + STANDARD_ERRORS * error
    stated = _stated_edges(model, claim, means, prompts, whole)
    alone = [kept] if stated is None else [kept, stated]
    reached = all(found.loss <= limit and found.accuracy >= ACCURACY for found in alone)
    zero, resampled, frozen = _harsh(model, claim, means, sample_pairs(prompts, n_harsh, seed), seed)
    return Sufficiency(
        passed=reached and RECOVERED[0] <= recovered <= RECOVERED[1],
        threshold=f"loss at most {limit:.3f} (target {claim.target_loss:g} + {STANDARD_ERRORS} standard errors), "
        f"accuracy at least {percent(ACCURACY)}, {percent(RECOVERED[0])} to {percent(RECOVERED[1])} of the difference "
        f"recovered",
        sentence=f"The circuit alone has a loss of {kept.loss:.3f} (whole model {of_model.loss:.3f}), is right on "
        f"{percent(kept.accuracy)} of {len(prompts.lengths)} prompts and recovers {percent(recovered)} of the "
        f"model's difference."
        + (
            ""
            if stated is None
            else f" With only the {len(claim.edges)} edges that it states the loss is {stated.loss:.3f}."
        ),
        loss=kept.loss,
        loss_error=error,
        accuracy=kept.accuracy,
        kl=kept.kl,
        kl_nothing_kept=score(last_logits(model, prompts, isolate(model, {}, means)), whole, prompts).kl,
        model_loss=of_model.loss,
        model_accuracy=of_model.accuracy,
        recovered=recovered,
        target_loss=claim.target_loss,
        n_pairs=prompts.n_pairs,
        stated_edges=stated,
        zero=zero,
        resampled=resampled,
        frozen_norms=frozen,
    )


def _stated_edges(model: GPT, claim: Claim, means: Means, prompts: Prompts, whole: Tensor) -> Alone | None:
    stated = {edge[:4] for edge in claim.edges}
    others = [edge for edge in induced_edges(model, claim.nodes) if edge[:4] not in stated]
    if not others:
        return None
    keep, edges = isolate(model, claim.nodes, means), remove_edges(model, others, means)
    logits = last_logits(model, prompts, keep, edges)
    found = score(logits, whole, prompts)
    return Alone(found.loss, found.accuracy, found.kl, _recovered(logits, whole, prompts))


def _harsh(model: GPT, claim: Claim, means: Means, prompts: Prompts, seed: int) -> tuple[Alone, Alone, Alone]:
    """(zero, resampled, frozen_norms)."""
    whole, seen = last_logits(model, prompts), record(model, prompts)
    keep = isolate(model, claim.nodes, means)
    donors = same_length_donors(prompts.lengths, seed)

    def alone(hook: Hook) -> Alone:
        logits = last_logits(model, prompts, hook)
        found = score(logits, whole, prompts)
        return Alone(found.loss, found.accuracy, found.kl, _recovered(logits, whole, prompts))

    return (
        alone(isolate(model, claim.nodes, zero_means(model))),
        alone(_resample(model, claim, seen, donors)),
        alone(compose(keep, _freeze_scales(seen))),
    )


def _recovered(logits: Tensor, whole: Tensor, prompts: Prompts) -> float:
    effect = float((difference_of(whole, prompts) * prompts.sign).mean())
    return float((difference_of(logits, prompts) * prompts.sign).mean()) / effect if effect else 0.0


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


def _resample(model: GPT, claim: Claim, seen: dict[str, Tensor], donors: Tensor) -> Hook:
    kept = model.space.masks(claim.nodes, model.device)

    def hook(site: str, x: Tensor) -> Tensor:
        return torch.where(kept[site], x, seen[site][donors]) if site in kept else x

    return hook


def _freeze_scales(seen: dict[str, Tensor]) -> Hook:
    return lambda site, x: seen[site] if site.endswith(".scale") else x
