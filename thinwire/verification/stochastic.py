"""Stochastic ablation: does the circuit depend on the silence of everything else?

Random shares of the nodes outside the circuit are opened again, one choice for the whole batch. A faithful circuit
stays flat from 0 % (the circuit alone) to 100 % (the whole model). The adversarial variant looks by gradient for the
subset that hurts most. Source: Drori 2026.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from jaxtyping import Bool
from torch import Tensor

from thinwire.circuits.ablation import Means
from thinwire.circuits.prompts import Prompts, logit_difference, task_loss
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Hook
from thinwire.progress import Progress, silent
from thinwire.verification.claim import Claim
from thinwire.verification.finding import Finding, percent
from thinwire.verification.variants import differences, losses, replace_each

FRACTIONS = tuple(i / 10 for i in range(11))
FACTOR = 2.0
RATE = 0.1
"""Step of the adversarial search on its scores, per root-mean-square of the gradient."""


@dataclass(frozen=True)
class Share:
    """Losses with one share of the outside nodes opened again."""

    fraction: float
    mean: float
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Stochastic(Finding):
    curve: list[Share]
    n_draws: int
    """Random subsets per share (one where there is only one)."""
    worst: float
    """Largest mean loss over shares, nats."""
    adversarial_loss: float | None
    """Loss on test pairs with the subset that the gradient found on other pairs; None when it was not searched."""
    adversarial_open: float | None
    """Share of the outside nodes in that subset."""
    adversarial_steps: int
    n_pairs: int


def stochastic(
    model: GPT,
    claim: Claim,
    means: Means,
    prompts: Prompts,
    search: Prompts,
    n_draws: int = 20,
    n_steps: int = 50,
    seed: int = 0,
    progress: Progress = silent,
) -> Stochastic:
    """The curve over `FRACTIONS`, `n_draws` subsets each, and `n_steps` of adversarial search on the pairs `search`."""
    generator = torch.Generator().manual_seed(seed)
    outside = {site: ~mask for site, mask in model.space.masks(claim.nodes, model.device).items()}
    curve = []
    with progress(f"stochastic {claim.task}", total=len(FRACTIONS), unit="share") as advance:
        for fraction in FRACTIONS:
            shut = _draw(outside, fraction, 1 if fraction in (0, 1) else n_draws, generator)
            found = _losses_with(model, prompts, shut, means)
            curve.append(Share(fraction, fmean(found), min(found), max(found)))
            advance(1)
    attack = adversary(model, outside, means, search, n_steps, generator) if n_steps else None
    limit, worst = FACTOR * claim.target_loss, max(share.mean for share in curve)
    at = max(curve, key=lambda share: share.mean).fraction
    attacked = None if attack is None else _losses_with(model, prompts, _as_variant(attack), means)[0]
    n_outside = sum(int(mask.sum()) for mask in outside.values())
    n_open = None if attack is None else n_outside - sum(int(shut.sum()) for shut in attack.values())
    return Stochastic(
        passed=worst <= limit,
        threshold=f"mean loss at most {limit:.3f} (twice the target) at every share",
        sentence=f"With random shares of the outside nodes opened again the mean loss goes from {curve[0].mean:.3f} "
        f"(none) to {curve[-1].mean:.3f} (all); it is highest at {percent(at)}: {worst:.3f}."
        + ("" if attacked is None else f" The worst subset found by gradient gives {attacked:.3f}."),
        curve=curve,
        n_draws=n_draws,
        worst=worst,
        adversarial_loss=attacked,
        adversarial_open=None if n_open is None or not n_outside else n_open / n_outside,
        adversarial_steps=n_steps,
        n_pairs=prompts.n_pairs,
    )


Masks = dict[str, Tensor]


def _draw(outside: Masks, fraction: float, n: int, generator: torch.Generator) -> Masks:
    """Site -> (n, width): which outside nodes stay shut when `fraction` of all are opened."""
    places = torch.cat(list(outside.values())).cpu()
    index = places.nonzero().flatten()
    shut = torch.zeros(n, len(places), dtype=torch.bool)
    for row in shut:
        order = torch.randperm(len(index), generator=generator)
        row[index[order[round(fraction * len(index)) :]]] = True
    return split_sites(shut, outside)


def split_sites(flat: Bool[Tensor, "V nodes"], like: Masks) -> Masks:
    """Nodes end to end -> one mask per site, on the device of `like`."""
    sizes = [len(mask) for mask in like.values()]
    device = next(iter(like.values())).device
    return dict(zip(like, flat.to(device).split(sizes, dim=1), strict=True))


def _as_variant(shut: Masks) -> Masks:
    return {site: mask[None] for site, mask in shut.items()}


def _losses_with(model: GPT, prompts: Prompts, shut: Masks, means: Means) -> list[float]:
    n = len(next(iter(shut.values())))

    def hook_of(part: slice) -> Hook:
        return replace_each({site: mask[part] for site, mask in shut.items()}, means)

    return losses(differences(model, prompts, n, hook_of), prompts)


def adversary(
    model: GPT, outside: Masks, means: Means, prompts: Prompts, n_steps: int, generator: torch.Generator
) -> Masks:
    """Site -> which outside nodes stay shut in the subset that hurts most on `prompts`.

    Every outside node has a score and is open where it is positive. Gradient ascent on the loss moves the scores,
    straight through the step; the subset with the largest loss on the way is kept.
    """
    sizes = [len(mask) for mask in outside.values()]
    places = torch.cat(list(outside.values()))
    scores = 0.1 * torch.randn(len(places), generator=generator).to(places.device)
    best, worst_loss = scores.clone(), -1.0
    for _ in range(n_steps):
        gates = ((scores > 0) | ~places).float().requires_grad_()
        loss = task_loss(logit_difference(model, prompts, _gate(gates, sizes, outside, means)), prompts.sign)
        (gradient,) = torch.autograd.grad(loss, gates)
        if (value := float(loss.detach())) > worst_loss:
            best, worst_loss = scores.clone(), value
        gradient = torch.where(places, gradient, 0.0)
        scores = scores + RATE * gradient / (gradient.square().mean().sqrt() + 1e-12)
    shut = (best <= 0) & places
    return dict(zip(outside, shut.split(sizes), strict=True))


def _gate(gates: Tensor, sizes: Sequence[int], sites: Masks, means: Means) -> Hook:
    by_site = dict(zip(sites, gates.split(list(sizes)), strict=True))

    def hook(site: str, x: Tensor) -> Tensor:
        return x * by_site[site] + means[site] * (1 - by_site[site]) if site in by_site else x

    return hook
