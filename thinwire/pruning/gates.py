"""Learned gates on nodes.

Source: Gao et al. 2025, section 2.3. One parameter tau per node; the gate is open where tau >= 0. The
gradient goes straight through the step as if it were a sigmoid.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.model.nodes import Nodes, NodeSpace

INIT_MEAN, INIT_STD = 0.1, 0.01


class _Heaviside(torch.autograd.Function):
    """1 where tau >= 0, else 0; backward with the sigmoid's derivative."""

    @staticmethod
    def forward(ctx: Any, tau: Tensor) -> Tensor:
        ctx.save_for_backward(tau)
        return (tau >= 0).to(tau.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (tau,) = ctx.saved_tensors
        sigmoid = tau.sigmoid()
        return grad * sigmoid * (1 - sigmoid)


class NodeGates:
    """Gates for all nodes; `tau` holds them end to end in the order of the node space."""

    def __init__(
        self,
        space: NodeSpace,
        generator: torch.Generator,
        forbidden: Nodes | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.space = space
        start = torch.randn(space.n_nodes, generator=generator) * INIT_STD + INIT_MEAN
        self.tau = start.to(device).requires_grad_()
        self.forbidden = space.mask(forbidden or {}, device)
        """Nodes whose gates stay shut, as one mask over `tau`."""
        self.clamp_()

    def open(self) -> Float[Tensor, " nodes"]:
        """1 for every open gate, 0 for every shut one, differentiable."""
        return _Heaviside.apply(self.tau)  # pyright: ignore[reportReturnType]

    def clamp_(self) -> None:
        """Keep tau in [-1, 1], so that a gate can still change its mind; forbidden gates stay at -1."""
        with torch.no_grad():
            self.tau.clamp_(-1, 1)[self.forbidden] = -1.0
