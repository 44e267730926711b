"""Projection of a weight tensor onto its largest entries, after every optimizer step.

Source: Gao et al. 2025, section 2.1: "zero out all but the largest magnitude entries of each weight
matrix", with a few entries kept for every neuron and attention channel. The protected entries count
inside k = max(1, floor(density x size)). Ties: lower index wins.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Protect = Literal["rows", "columns"] | None
"""Which lines of a matrix keep their own largest entries: rows feed one q/k/v channel or neuron each,
columns carry one value channel or neuron out."""


def count_nonzero(size: int, density: float) -> int:
    """Number of entries k that a tensor of `size` entries may keep at `density`."""
    return max(1, int(density * size))


def projection_mask(
    weight: Float[Tensor, "*shape"], k: int, protect: Protect = None, min_per_line: int = 0
) -> Bool[Tensor, "*shape"]:
    """Reference: the mask of the kept entries, by stable sorts.

    Every row (or column) first keeps its `min_per_line` largest entries; the rest of `k` goes to the
    largest of what remains.
    """
    rank = weight.detach().abs().clone()
    if protect and min_per_line:
        dim = 1 if protect == "rows" else 0
        order = torch.sort(rank, dim=dim, descending=True, stable=True).indices
        rank.scatter_(dim, order.narrow(dim, 0, min(min_per_line, rank.shape[dim])), torch.inf)
    order = torch.sort(rank.flatten(), descending=True, stable=True).indices
    mask = torch.zeros(rank.numel(), dtype=torch.bool, device=weight.device)
    mask[order[:k]] = True
    return mask.view_as(weight)


@torch.no_grad()
def project_topk_(weight: Tensor, density: float, protect: Protect = None, min_per_line: int = 0) -> None:
    """Zero all but the k = max(1, floor(density x size)) kept entries of `weight`, in place."""
    k = count_nonzero(weight.numel(), density)
    if k >= weight.numel():
        return
    if weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.is_contiguous():
        from thinwire.sparsity.kernels import cpu

        cpu.project_topk_(weight, k, protect, min_per_line)
    else:
        weight.mul_(projection_mask(weight, k, protect, min_per_line))
