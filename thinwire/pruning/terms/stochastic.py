"""The answer does not hang on the silence of everything else: random shares of the outside are opened again.

Masks are g + (1 - g) r, r one draw per batch. Source: the stochastic masks of parameter decomposition (Bushnaq et al.
2025), proposed for circuits in the discussion of Drori 2026.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.circuits.graph import Demand, Edge
from thinwire.circuits.prompts import task_loss
from thinwire.pruning.engine import Engine

SHARES = tuple(i / 10 for i in range(1, 10))
DRAWS = 2
"""Fixed draws per share; each is judged on its own part of the pairs, so that a circuit costs one pass in all."""
MARGIN = 0.7
"""The judge allows twice the target at every share, on other pairs; we ask for the target after this discount."""


class Draw(NamedTuple):
    opened: Tensor
    """1 for the nodes that are open wherever the circuit leaves them shut, float, one entry per node."""
    rows: np.ndarray


def reopened(gates: Tensor, opened: Tensor) -> Tensor:
    """g + (1 - g) r."""
    return gates + (1 - gates) * opened


def draw_opened(like: Float[Tensor, " nodes"], generator: torch.Generator) -> Float[Tensor, " nodes"]:
    """r: a share f ~ U(0, 1) of all nodes, each by itself."""
    share = torch.rand((), generator=generator)
    return (torch.rand(len(like), generator=generator) < share).to(like)


class Stochastic:
    """Worst task loss over shares of reopened nodes, smoothed over neighbouring shares, nats."""

    name: ClassVar[str] = "stochastic"

    def __init__(self, engine: Engine, target: float) -> None:
        self.engine, self.limit = engine, target / MARGIN

    def losses(
        self, gates: Float[Tensor, "S nodes"], rows: Sequence[Int[Tensor, " n"]], generators: Sequence[torch.Generator]
    ) -> Float[Tensor, " S"]:
        opened = [draw_opened(vector, generator) for vector, generator in zip(gates, generators, strict=True)]
        found = self.engine.differences(reopened(gates, torch.stack(opened)), rows)
        return torch.stack([task_loss(difference, sign) for difference, sign in found])

    @cached_property
    def draws(self) -> list[list[Draw]]:
        """Share -> its draws. With fewer pairs than draws each draw takes them all."""
        n_pairs, n_draws = self.engine.n_pairs, len(SHARES) * DRAWS
        order = torch.randperm(n_pairs, generator=torch.Generator().manual_seed(0)).numpy()
        parts = np.array_split(order, n_draws) if n_pairs >= n_draws else [order] * n_draws
        generator = torch.Generator().manual_seed(1)
        n_nodes = self.engine.model.space.n_nodes
        draws = [
            Draw((torch.rand(n_nodes, generator=generator) < share).float().to(self.engine.device), np.sort(part))
            for share, part in zip(np.repeat(SHARES, DRAWS), parts, strict=True)
        ]
        return [draws[i : i + DRAWS] for i in range(0, len(draws), DRAWS)]

    def measure(
        self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = (), stop: float = float("inf")
    ) -> Demand:
        removed, losses, worst = list(removed), [], 0.0
        for draws in self.draws:
            found = [self.engine.loss_of(reopened(gates, draw.opened), draw.rows, removed) for draw in draws]
            losses.append(float(np.mean(found)))
            if len(losses) > 1:
                worst = max(worst, float(np.mean(losses[-3:])))
            if worst > stop * self.limit:
                break
        return Demand(max(worst, float(np.mean(losses[-2:]))), self.limit)
