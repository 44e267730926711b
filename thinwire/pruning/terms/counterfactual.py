"""The circuit decides, whatever the outside says: outside nodes and edges carry what they do on the pair's other side.

Source: adversarial subsets of what is ablated, from the discussion of Drori 2026; `carried` of the interchange test.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.circuits.graph import Demand, Edge
from thinwire.circuits.prompts import task_loss
from thinwire.pruning.engine import Engine
from thinwire.pruning.patching import way
from thinwire.pruning.terms.sides import Sides
from thinwire.pruning.terms.stochastic import draw_opened, reopened

CARRIED = 0.7
"""Share of the way that the circuit has to carry against everything else; the judge asks for half, on other pairs."""


class Counterfactual:
    """Share of the way between the sides that the outside carries when it stands on the other side."""

    name: ClassVar[str] = "counterfactual"

    def __init__(self, engine: Engine, target: float) -> None:
        self.sides = Sides(engine)

    def losses(
        self, gates: Float[Tensor, "S nodes"], rows: Sequence[Int[Tensor, " n"]], generators: Sequence[torch.Generator]
    ) -> Float[Tensor, " S"]:
        """Half of the steps with all outside nodes on the other side, half with a random share of them reopened."""
        losses = []
        for vector, chosen, generator in zip(gates, rows, generators, strict=True):
            patching = self.sides.batch(chosen)
            alone = bool(torch.rand((), generator=generator) < 0.5)
            opened = draw_opened(vector, generator)
            mixed = vector if alone else reopened(vector, opened)
            losses.append(task_loss(patching.against(mixed), patching.sign))
        return torch.stack(losses)

    @torch.no_grad()
    def measure(
        self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = (), stop: float = float("inf")
    ) -> Demand:
        patching = self.sides.judged
        stays = way(patching.against(gates, removed))
        carried = (1 + float(stays) / float(way(patching.whole))) / 2
        return Demand(1 - carried, 1 - CARRIED)
