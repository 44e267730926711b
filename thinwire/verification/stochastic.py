"""Stochastic ablation: does the circuit depend on the silence of everything else?

Random shares of the nodes outside the circuit are opened again, one choice for the whole batch. A faithful circuit
stays flat from 0 % (the circuit alone) to 100 % (the whole model). Source: Drori 2026.
"""

from dataclasses import dataclass
from statistics import fmean

import torch
from jaxtyping import Bool
from torch import Tensor

from thinwire.progress import Progress, silent
from thinwire.storage.records import Count, Loss, Share
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import percent
from thinwire.verification.subject import Subject
from thinwire.verification.variants import losses_when_shut

FRACTIONS = tuple(i / 10 for i in range(11))
FACTOR = 2.0


@dataclass(frozen=True)
class OpenedShare:
    """Losses with one share of the outside nodes opened again."""

    fraction: Share
    mean: Loss
    lowest: Loss
    highest: Loss


@dataclass(frozen=True, kw_only=True)
class Stochastic(Finding):
    curve: list[OpenedShare]
    n_draws: Count
    """Random subsets per share (one where there is only one)."""
    worst: Loss
    """Largest mean loss over shares, nats."""


def stochastic(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Stochastic:
    """The curve over `FRACTIONS`. Edges that the circuit does not state stay removed throughout."""
    generator = torch.Generator().manual_seed(seed)
    claim, alone = subject.claim, subject.alone(material.test_pairs(budget.pairs))
    outside = ~subject.model.space.mask(claim.nodes)
    curve = []
    with progress(f"stochastic {claim.task}", total=len(FRACTIONS), unit="share") as advance:
        for fraction in FRACTIONS:
            shut = _draw(outside, fraction, 1 if fraction in (0, 1) else budget.draws, generator)
            found = losses_when_shut(alone, shut)
            curve.append(OpenedShare(fraction, fmean(found), min(found), max(found)))
            advance(1)
    limit, worst = FACTOR * claim.target_loss, max(curve, key=lambda share: share.mean)
    return Stochastic(
        passed=worst.mean <= limit,
        threshold=f"mean loss at most {limit:.3f} (twice the target) at every share",
        sentence=f"With random shares of the outside nodes opened again the mean loss goes from {curve[0].mean:.3f} "
        f"(none) to {curve[-1].mean:.3f} (all); it is highest at {percent(worst.fraction)}: {worst.mean:.3f}.",
        n_pairs=alone.prompts.n_pairs,
        curve=curve,
        n_draws=budget.draws,
        worst=worst.mean,
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
