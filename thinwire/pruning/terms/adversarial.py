"""The answer holds against the worst set of reopened outside nodes that a gradient finds.

One set for all pairs, kept and moved on from step to step (persistent), bounded in the share that it may open.
Source: adversarial masks of parameter decomposition; discussion of Drori 2026.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.circuits.graph import Demand, Edge
from thinwire.circuits.prompts import task_loss
from thinwire.pruning.engine import Engine
from thinwire.pruning.terms.stochastic import reopened

OPEN = 0.25
"""Share of all nodes that the set may open, at most."""
RATE = 0.1
"""Step of the scores, per root-mean-square of the gradient."""
ASCENTS = 4
"""Steps of the search when a circuit is measured, from a fixed start."""
JUDGED_PAIRS = 32
FACTOR = 4.0
"""The loss against the worst set may be this many times the target."""


class Adversarial:
    """Task loss with the reopened set that raises it most, nats."""

    name: ClassVar[str] = "adversarial"

    def __init__(self, engine: Engine, target: float) -> None:
        self.engine, self.limit = engine, FACTOR * target
        self.scores: dict[int, Tensor] = {}
        """Scores of the set that each gate vector is up against, by its number."""

    @cached_property
    def start(self) -> Float[Tensor, " nodes"]:
        n_nodes = self.engine.model.space.n_nodes
        return 0.1 * torch.randn(n_nodes, generator=torch.Generator().manual_seed(3)).to(self.engine.device)

    def losses(
        self, gates: Float[Tensor, "S nodes"], rows: Sequence[Int[Tensor, " n"]], generators: Sequence[torch.Generator]
    ) -> Float[Tensor, " S"]:
        losses = []
        for i, (vector, chosen) in enumerate(zip(gates, rows, strict=True)):
            scores = self.scores.get(i, self.start)
            opened = strongest(scores).requires_grad_()
            ((difference, sign),) = self.engine.differences(reopened(vector, opened)[None], [chosen])
            losses.append(task_loss(difference, sign))
            (slope,) = torch.autograd.grad(losses[-1], opened, retain_graph=True)
            self.scores[i] = ascended(scores, slope)
        return torch.stack(losses)

    def measure(
        self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = (), stop: float = float("inf")
    ) -> Demand:
        removed, scores, worst = list(removed), self.start, 0.0
        rows = np.arange(0, self.engine.n_pairs, max(1, self.engine.n_pairs // JUDGED_PAIRS))
        for _ in range(ASCENTS):
            opened = strongest(scores).requires_grad_()
            mixed = reopened(gates.detach(), opened)
            ((difference, sign),) = self.engine.differences(mixed[None], [torch.from_numpy(rows)])
            (slope,) = torch.autograd.grad(task_loss(difference, sign), opened)
            worst = max(worst, self.engine.loss_of(mixed.detach(), rows, removed))
            scores = ascended(scores, slope)
        return Demand(worst, self.limit)


def strongest(scores: Float[Tensor, " nodes"]) -> Float[Tensor, " nodes"]:
    """1 at nodes with positive scores, at most `OPEN` of all, the largest ones."""
    opened = torch.zeros_like(scores)
    first = scores.topk(int(OPEN * len(scores))).indices
    opened[first] = (scores[first] > 0).to(scores)
    return opened


def ascended(scores: Float[Tensor, " nodes"], slope: Float[Tensor, " nodes"]) -> Float[Tensor, " nodes"]:
    """One step up the loss."""
    return scores + RATE * slope / (slope.square().mean().sqrt() + 1e-12)
