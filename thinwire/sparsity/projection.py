"""Projection of a weight tensor onto its largest entries, after every optimizer step.

Source: Gao et al. 2025, section 2.1: "zero out all but the largest magnitude entries of each weight
matrix", with a few entries kept for every neuron and attention channel. The protected entries count
inside k = max(1, floor(density x size)); were k smaller than their number, they would all stay. Ties: lower
index wins. Infinities count as the largest magnitudes, NaN as larger still.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from thinwire.kernels.contract import Protect, has_triton


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
    magnitude = weight.detach().abs()
    protected = torch.zeros_like(magnitude, dtype=torch.bool)
    if protect and min_per_line:
        dim = 1 if protect == "rows" else 0
        order = torch.sort(magnitude, dim=dim, descending=True, stable=True).indices
        protected.scatter_(dim, order.narrow(dim, 0, min(min_per_line, weight.shape[dim])), True)
    order = torch.sort(magnitude.flatten(), descending=True, stable=True).indices
    order = order[torch.sort(protected.flatten()[order], descending=True, stable=True).indices]
    mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[order[: max(k, int(protected.sum()))]] = True
    return mask.view_as(weight)


@torch.no_grad()
def project_topk_(weight: Tensor, density: float, protect: Protect = None, min_per_line: int = 0) -> None:
    """Zero all but the k = max(1, floor(density x size)) kept entries of `weight`, in place."""
    k = count_nonzero(weight.numel(), density)
    if k >= weight.numel():
        return
    if weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.is_contiguous():
        from thinwire.kernels import projection

        projection.project_topk_(weight, k, protect, min_per_line)
    elif weight.device.type == "cuda" and weight.dtype != torch.float64 and weight.is_contiguous() and has_triton():
        from thinwire.kernels import gpu

        gpu.project_topk_(weight, k, protect, min_per_line)
    else:
        weight.masked_fill_(~projection_mask(weight, k, protect, min_per_line), 0)
