"""What a term of an objective is: one demand on a circuit, as a loss for the gates and as a limit for the circuit."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.circuits.graph import Demand, Edge
from thinwire.pruning.engine import Engine


@runtime_checkable
class Term(Protocol):
    """One demand, on one split: `losses` on train pairs, `measure` on validation pairs."""

    name: ClassVar[str]

    def __init__(self, engine: Engine, target: float) -> None:
        """`target` is the task loss that the circuit has to reach, nats."""
        ...

    def losses(
        self,
        gates: Float[Tensor, "S nodes"],
        rows: Sequence[Int[Tensor, " n"]],
        generators: Sequence[torch.Generator],
    ) -> Float[Tensor, " S"]:
        """What each gate vector learns from, on the pairs of its own `rows`, with draws from its own generator.

        Differentiable in the gates.
        """
        ...

    def measure(
        self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = (), stop: float = float("inf")
    ) -> Demand:
        """The circuit of the open gates without the `removed` edges. Past `stop` limits any larger value will do."""
        ...
