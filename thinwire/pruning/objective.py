"""What gates, bisection and sweeps ask for: a list of terms, each a loss to learn from and a limit to meet.

`terms` holds them, one file each; `requirement` names the lists that have a name.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.circuits.graph import Demand, Edge
from thinwire.pruning.engine import Engine
from thinwire.pruning.terms.registry import TERMS

ATTRIBUTED = 8
"""Draws over which the terms' effects of nodes are averaged, each on its own part of the pairs."""
WORST = 1e9
"""Stands for infinity where a demand is written down."""


class Objective:
    """Terms over one split, with their weights."""

    def __init__(self, engine: Engine, weights: Mapping[str, float], target: float) -> None:
        """`weights`: term -> weight in what gates learn from, in the order in which circuits are measured."""
        self.engine, self.weights, self.target = engine, dict(weights), target
        self.terms = {name: TERMS[name](engine, target) for name in weights}
        self.n_pairs, self.device = engine.n_pairs, engine.device
        self._refusing_first = list(self.terms)
        """The order in which `lack` measures: most trials of a sweep fail at the term that failed last."""

    @property
    def asks_for_the_task_alone(self) -> bool:
        return list(self.terms) == ["mean"]

    def gradients(
        self,
        gates: Float[Tensor, "S nodes"],
        rows: Sequence[Int[Tensor, " n"]],
        generators: Sequence[torch.Generator],
    ) -> tuple[Float[Tensor, " S"], Float[Tensor, "S nodes"]]:
        """(loss, its gradient) for each gate vector on the pairs of its own `rows`, draws from its own generator."""
        gates = gates.detach().clone().requires_grad_()
        losses = torch.zeros(len(gates), device=gates.device)
        gradient = torch.zeros_like(gates)
        for name, term in self.terms.items():
            found = self.weights[name] * term.losses(gates, rows, generators)
            gradient += torch.autograd.grad(found.sum(), gates)[0]
            losses += found.detach()
        return losses, gradient

    def rise(self, gates: Float[Tensor, " nodes"]) -> Float[Tensor, " nodes"]:
        """First-order rise of what is asked if each node were removed by itself: of the task loss where only that is
        asked for, else of all terms together, over `ATTRIBUTED` fixed draws."""
        if self.asks_for_the_task_alone:
            return self.engine.effects(gates)[0]
        rows, generator = torch.randperm(self.n_pairs, generator=torch.Generator().manual_seed(4)), torch.Generator()
        generator.manual_seed(5)
        parts = [rows[part::ATTRIBUTED] if self.n_pairs >= ATTRIBUTED else rows for part in range(ATTRIBUTED)]
        return -torch.stack([self.gradients(gates[None], [part], [generator])[1][0] for part in parts]).mean(0)

    def lack(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = (), limit: float = float("inf")) -> float:
        """What the circuit of the open gates lacks most, on the scale of the target: at most the target meets all.

        The task loss itself where only that is asked for. Once above `limit`, further terms are not measured.
        """
        removed, worst = list(removed), 0.0
        for name in self._refusing_first:
            found = self.terms[name].measure(gates, removed, limit / self.target)
            scaled = found.value if name == "mean" else found.value / found.limit * self.target
            worst = max(worst, scaled)
            if worst > limit:
                self._refusing_first.sort(key=lambda other: other != name)
                break
        return worst

    def measure(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = ()) -> dict[str, Demand]:
        """Every term's value and limit; values are finite, as files hold them."""
        removed = list(removed)
        found = {name: term.measure(gates, removed) for name, term in self.terms.items()}
        return {name: Demand(min(demand.value, WORST), demand.limit) for name, demand in found.items()}
