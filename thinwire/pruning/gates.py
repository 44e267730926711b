"""Learned gates on nodes.

Source: Gao et al. 2025, section 2.3. One parameter tau per node; the gate is open where tau >= 0. The
gradient goes straight through the step as if it were a sigmoid.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from thinwire.circuits.ablation import Means, Nodes
from thinwire.model.hooks import Hook

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
    """Gates for all node sites; `tau` holds them end to end in the order of the forward pass."""

    def __init__(self, means: Means, generator: torch.Generator, forbidden: Nodes | None = None) -> None:
        self.means = means
        self.sizes = {site: len(mean) for site, mean in means.items()}
        device = next(iter(means.values())).device
        start = torch.randn(sum(self.sizes.values()), generator=generator) * INIT_STD + INIT_MEAN
        self.tau = start.to(device).requires_grad_()
        self.forbidden = self._places(forbidden or {}).to(device)
        """Nodes whose gates stay shut, as one mask over `tau`."""
        self.clamp_()

    def open(self) -> Float[Tensor, " nodes"]:
        """1 for every open gate, 0 for every shut one, differentiable."""
        return _Heaviside.apply(self.tau)  # pyright: ignore[reportReturnType]

    def hook(self, gates: Float[Tensor, " nodes"]) -> Hook:
        """x where the gate is open, the mean where it is shut."""
        by_site = dict(zip(self.sizes, gates.split(list(self.sizes.values())), strict=True))
        stand_in = {site: (1 - gate) * self.means[site] for site, gate in by_site.items()}

        def hook(site: str, x: Tensor) -> Tensor:
            return torch.addcmul(stand_in[site], x, by_site[site]) if site in by_site else x

        return hook

    def clamp_(self) -> None:
        """Keep tau in [-1, 1], so that a gate can still change its mind; forbidden gates stay at -1."""
        with torch.no_grad():
            self.tau.clamp_(-1, 1)[self.forbidden] = -1.0

    def _places(self, nodes: Nodes) -> Bool[Tensor, " nodes"]:
        masks = {site: torch.zeros(size, dtype=torch.bool) for site, size in self.sizes.items()}
        for site, channels in nodes.items():
            masks[site][list(channels)] = True
        return torch.cat(list(masks.values()))

    def nodes(self, chosen: Tensor) -> dict[str, list[int]]:
        """Site -> ascending channels of the chosen positions of `tau`; empty sites are left out."""
        mask = torch.zeros(self.tau.numel(), dtype=torch.bool)
        mask[chosen.cpu()] = True
        parts = zip(self.sizes, mask.split(list(self.sizes.values())), strict=True)
        return {site: part.nonzero().flatten().tolist() for site, part in parts if part.any()}
