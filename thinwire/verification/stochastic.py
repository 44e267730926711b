"""Stochastic ablation: does the circuit depend on the silence of everything else?

Random shares of the nodes outside the circuit are opened again, one choice for the whole batch. A faithful circuit
stays flat from 0 % (the circuit alone) to 100 % (the whole model). The adversarial variant looks by gradient for the
subset that hurts most. Source: Drori 2026.
"""

from dataclasses import dataclass
from statistics import fmean

import torch
from jaxtyping import Bool
from torch import Tensor

from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.circuits.prompts import logit_difference, task_loss
from thinwire.model.hooks import Hook, compose
from thinwire.progress import Progress, silent
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import percent
from thinwire.verification.subject import Subject
from thinwire.verification.variants import differences, losses, replace_each

FRACTIONS = tuple(i / 10 for i in range(11))
FACTOR = 2.0
RATE = 0.1
"""Step of the adversarial search on its scores, per root-mean-square of the gradient."""


@dataclass(frozen=True)
class OpenedShare:
    """Losses with one share of the outside nodes opened again."""

    fraction: float
    mean: float
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Stochastic(Finding):
    curve: list[OpenedShare]
    n_draws: int
    """Random subsets per share (one where there is only one)."""
    worst: float
    """Largest mean loss over shares, nats."""
    adversarial_loss: float | None
    """Loss on test pairs with the subset that the gradient found on other pairs; None when it was not searched."""
    adversarial_open: float | None
    """Share of the outside nodes in that subset."""
    adversarial_steps: int


def stochastic(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Stochastic:
    """The curve over `FRACTIONS`, and the adversarial search on other pairs. Unstated edges stay removed throughout."""
    generator = torch.Generator().manual_seed(seed)
    claim, alone = subject.claim, subject.alone(material.test_pairs(budget.pairs))
    outside = ~subject.model.space.mask(claim.nodes)
    curve = []
    with progress(f"stochastic {claim.task}", total=len(FRACTIONS), unit="share") as advance:
        for fraction in FRACTIONS:
            shut = _draw(outside, fraction, 1 if fraction in (0, 1) else budget.draws, generator)
            found = losses_with(alone, shut)
            curve.append(OpenedShare(fraction, fmean(found), min(found), max(found)))
            advance(1)
    search, n_steps = alone.on(material.search_pairs(budget.search_pairs)), budget.adversarial_steps
    attack = adversary(search, outside, n_steps, generator) if n_steps else None
    attacked = None if attack is None else losses_with(alone, attack[None])[0]
    limit, worst = FACTOR * claim.target_loss, max(curve, key=lambda share: share.mean)
    return Stochastic(
        passed=worst.mean <= limit,
        threshold=f"mean loss at most {limit:.3f} (twice the target) at every share",
        sentence=f"With random shares of the outside nodes opened again the mean loss goes from {curve[0].mean:.3f} "
        f"(none) to {curve[-1].mean:.3f} (all); it is highest at {percent(worst.fraction)}: {worst.mean:.3f}."
        + ("" if attacked is None else f" The worst subset found by gradient gives {attacked:.3f}."),
        n_pairs=alone.prompts.n_pairs,
        curve=curve,
        n_draws=budget.draws,
        worst=worst.mean,
        adversarial_loss=attacked,
        adversarial_open=None if attack is None or not outside.any() else 1 - float(attack.sum() / outside.sum()),
        adversarial_steps=n_steps,
    )


def _draw(
    outside: Bool[Tensor, " nodes"], fraction: float, n: int, generator: torch.Generator
) -> Bool[Tensor, "V nodes"]:
    """Which outside nodes stay shut when `fraction` of all are opened, `n` draws."""
    index = outside.nonzero().flatten()
    shut = torch.zeros(n, len(outside), dtype=torch.bool)
    for row in shut:
        order = torch.randperm(len(index), generator=generator)
        row[index[order[round(fraction * len(index)) :]]] = True
    return shut


def losses_with(alone: IsolatedCircuit, shut: Bool[Tensor, "V nodes"]) -> list[float]:
    """Loss of a circuit for which only these of the outside nodes are shut, one for each variant."""
    masks = alone.model.space.by_site(shut.to(alone.model.device))

    def hook_of(part: slice) -> Hook:
        shutting = replace_each({site: mask[part] for site, mask in masks.items()}, alone.means)
        return compose(shutting, alone.norms)

    return losses(differences(alone.model, alone.prompts, len(shut), hook_of, alone.edges), alone.prompts)


def adversary(
    alone: IsolatedCircuit, outside: Bool[Tensor, " nodes"], n_steps: int, generator: torch.Generator
) -> Bool[Tensor, " nodes"]:
    """Which outside nodes stay shut in the subset that hurts most on the circuit's prompts.

    Every outside node has a score and is open where it is positive. Gradient ascent on the loss moves the scores,
    straight through the step; the subset with the largest loss on the way is kept.
    """
    scores = 0.1 * torch.randn(len(outside), generator=generator)
    best, worst_loss = scores.clone(), -1.0
    for _ in range(n_steps):
        loss, gradient = _loss_and_gradient(alone, (scores > 0) | ~outside)
        if loss > worst_loss:
            best, worst_loss = scores.clone(), loss
        gradient = torch.where(outside, gradient, 0.0)
        scores = scores + RATE * gradient / (gradient.square().mean().sqrt() + 1e-12)
    return (best <= 0) & outside


def _loss_and_gradient(alone: IsolatedCircuit, is_open: Bool[Tensor, " nodes"]) -> tuple[float, Tensor]:
    """Task loss of the model with these nodes open, and its gradient along the gates."""
    gates = is_open.float().to(alone.model.device).requires_grad_()
    by_site = alone.model.space.by_site(gates)

    def gate(site: str, x: Tensor) -> Tensor:
        return x * by_site[site] + alone.means[site] * (1 - by_site[site]) if site in by_site else x

    prompts = alone.prompts
    loss = task_loss(logit_difference(alone.model, prompts, compose(gate, alone.norms), alone.edges), prompts.sign)
    (gradient,) = torch.autograd.grad(loss, gates)
    return float(loss.detach()), gradient.cpu()
