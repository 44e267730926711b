"""The circuit alone does the task: everything outside at its mean.

Source: Gao et al. 2025, section 2.3.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.circuits.graph import Demand, Edge
from thinwire.circuits.prompts import task_loss
from thinwire.pruning.engine import Engine


class Mean:
    """Task loss under mean ablation, nats; its limit is the target."""

    name: ClassVar[str] = "mean"

    def __init__(self, engine: Engine, target: float) -> None:
        self.engine, self.target = engine, target

    def losses(
        self, gates: Float[Tensor, "S nodes"], rows: Sequence[Int[Tensor, " n"]], generators: Sequence[torch.Generator]
    ) -> Float[Tensor, " S"]:
        return torch.stack([task_loss(difference, sign) for difference, sign in self.engine.differences(gates, rows)])

    def measure(
        self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = (), stop: float = float("inf")
    ) -> Demand:
        return Demand(self.engine.loss(gates, removed, stop * self.target), self.target)
