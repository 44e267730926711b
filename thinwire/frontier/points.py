"""What the frontier is drawn through: models by held-out loss, and the sizes of their circuits."""

from dataclasses import dataclass
from typing import Literal

from thinwire.frontier.compare import Cell

Kind = Literal["sparse", "dense", "sparse, no AbsTopK", "dense, AbsTopK"]
"""The last two are controls: activation sparsity is not to be taken for weight sparsity."""


def kind_of(density: float, activation_frac: float) -> Kind:
    """Of a model with that share of nonzero weights, and of entries that AbsTopK keeps."""
    if density < 1:
        return "sparse" if activation_frac < 1 else "sparse, no AbsTopK"
    return "dense" if activation_frac == 1 else "dense, AbsTopK"


@dataclass(frozen=True)
class ModelPoint:
    """One trained model."""

    name: str
    kind: Kind
    group: str
    """Models of one group differ in nothing but the seed of their training."""
    n_layer: int
    d_model: int
    density: float
    n_tokens: int
    seed: int
    parameters: int
    nonzero: int
    heldout_loss: float
    """Nats per token, on text that all models share."""
    path: str


@dataclass(frozen=True)
class CircuitPoint:
    """One circuit of one model: its size, and what it is worth."""

    model: str
    task: str
    requirement: str
    seed: int
    met: bool
    """Whether it meets what was asked of it, on validation pairs."""
    cell: Cell
