"""The adversary: which outside nodes, opened together, hurt the circuit most?

Every outside node has a score and is open where it is positive. Gradient ascent on the task loss moves the scores,
straight through the step, from several random starts with different shares open and on other pairs than the ones that
are reported. Random shares (`stochastic`) ask for the average choice, this for the worst. It describes and does not
decide: what the search finds is a lower bound on the worst subset, and with hundreds of nodes outside some subset
always hurts, even a true circuit with a pair of nodes outside that cancel one another. Source: Drori 2026.
"""

from dataclasses import dataclass
from statistics import NormalDist, fmean

import torch
from jaxtyping import Bool
from torch import Tensor

from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.circuits.prompts import logit_difference, task_loss
from thinwire.model.hooks import compose
from thinwire.progress import Progress, silent
from thinwire.storage.records import Count, Loss, Share
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding, NotRun
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import percent
from thinwire.verification.subject import Subject
from thinwire.verification.variants import losses_when_shut

FACTOR = 2.0
NORMAL, START = NormalDist(), 0.1
"""How scores are drawn, and their scale."""
RATE = 0.1
"""Step of the search on its scores, per root-mean-square of the gradient."""
THRESHOLD = "the loss with the worst subset found is at most twice the target"


@dataclass(frozen=True, kw_only=True)
class Adversary(Finding):
    worst: Loss
    """Largest loss over restarts, nats, on test pairs."""
    mean: Loss
    lowest: Loss
    """Over restarts: how much a single one depends on its start."""
    losses: list[Loss]
    """One for each restart."""
    opened: Share
    """Share of the outside nodes in the worst subset."""
    n_steps: Count


def adversary(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Adversary:
    """Search on other pairs, from `budget.restarts` starts; what is found is measured on test pairs."""
    claim, alone = subject.claim, subject.alone(material.test_pairs(budget.pairs))
    outside = ~subject.model.space.mask(claim.nodes)
    if not budget.restarts or not outside.any():
        raise NotRun("there is no node outside the circuit" if budget.restarts else "this budget does not search")
    search, generator = alone.on(material.search_pairs(budget.search_pairs)), torch.Generator().manual_seed(seed)
    found = []
    with progress(f"adversary {claim.task}", total=budget.restarts, unit="restart") as advance:
        for restart in range(budget.restarts):
            share = (restart + 0.5) / budget.restarts
            found.append(attack(search, outside, budget.adversary_steps, share, generator))
            advance(1)
    losses = losses_when_shut(alone, torch.stack(found))
    worst, limit = max(range(len(found)), key=losses.__getitem__), FACTOR * claim.target_loss
    opened = 1 - float(found[worst].sum() / outside.sum())
    return Adversary(
        passed=losses[worst] <= limit,
        threshold=f"{THRESHOLD}, {limit:.3f}",
        sentence=f"The worst subset of the outside nodes that {budget.restarts} searches of {budget.adversary_steps} "
        f"steps found ({percent(opened)} of them open) gives a loss of {losses[worst]:.3f}; the searches end between "
        f"{min(losses):.3f} and {max(losses):.3f}.",
        n_pairs=alone.prompts.n_pairs,
        worst=losses[worst],
        mean=fmean(losses),
        lowest=min(losses),
        losses=losses,
        opened=opened,
        n_steps=budget.adversary_steps,
    )


def attack(
    alone: IsolatedCircuit, outside: Bool[Tensor, " nodes"], n_steps: int, share: float, generator: torch.Generator
) -> Bool[Tensor, " nodes"]:
    """Which outside nodes stay shut in the subset that hurts most on the circuit's prompts, of those on the way.

    The search starts with about `share` of the outside nodes open.
    """
    scores = START * (torch.randn(len(outside), generator=generator) + NORMAL.inv_cdf(share))
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
