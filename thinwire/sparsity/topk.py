"""AbsTopK: keep the k entries of largest magnitude in every row, zero the rest.

Source: Gao et al. 2025, section 2.1 ("activation sparsity"). Ties: lower index wins. The gradient
passes through the kept entries, also where their value is exactly 0. Infinities count as the largest magnitudes,
NaN as larger still.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from thinwire.kernels.contract import has_triton


def count_kept(width: int, frac: float) -> int:
    """Number of entries k that AbsTopK keeps of `width`: floor(frac x width), at least 1."""
    return max(1, int(frac * width))


def abs_topk_mask(x: Float[Tensor, "*batch width"], k: int) -> Bool[Tensor, "*batch width"]:
    """Reference: the mask of the kept entries, by a stable sort."""
    order = torch.sort(x.abs(), dim=-1, descending=True, stable=True).indices
    return torch.zeros_like(x, dtype=torch.bool).scatter_(-1, order[..., :k], True)


class _AbsTopK(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int) -> Tensor:
        if x.device.type == "cpu" and x.dtype == torch.float32:
            from thinwire.kernels import cpu

            kept, mask = cpu.abs_topk(x.contiguous(), k)
        elif x.device.type == "cuda" and x.dtype != torch.float64 and has_triton():
            from thinwire.kernels import gpu

            kept, mask = gpu.abs_topk(x.contiguous(), k)
        else:
            mask = abs_topk_mask(x, k)
            kept = torch.where(mask, x, 0)
        ctx.save_for_backward(mask)
        return kept

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (mask,) = ctx.saved_tensors
        if grad.device.type == "cpu" and grad.dtype == torch.float32:
            from thinwire.kernels import cpu

            return cpu.masked(grad.contiguous(), mask), None
        return torch.where(mask, grad, 0), None


def abs_topk(x: Float[Tensor, "*batch width"], k: int) -> Float[Tensor, "*batch width"]:
    """`x` with all but the `k` entries of largest magnitude of every row set to 0.

    `k >= width` returns `x` itself.
    """
    return x if k >= x.shape[-1] else _AbsTopK.apply(x, k)  # pyright: ignore[reportReturnType]


class _GeluTopK(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int) -> Tensor:
        from thinwire.kernels import activation

        kept, slopes = activation.gelu_topk(x.contiguous(), k, with_slopes=ctx.needs_input_grad[0])
        ctx.save_for_backward(slopes)
        return kept

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        from thinwire.kernels import activation

        (slopes,) = ctx.saved_tensors
        return activation.gelu_topk_backward(grad.contiguous(), slopes), None


def gelu_topk(x: Float[Tensor, "*batch width"], k: int) -> Float[Tensor, "*batch width"]:
    """`abs_topk(gelu(x), k)`, in one pass each way on CPU.

    There gelu may differ from torch's by float32's rounding, so that entries which tie within it may be exchanged.
    """
    if x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu"):
        return _GeluTopK.apply(x, k)  # pyright: ignore[reportReturnType]
    return abs_topk(F.gelu(x), k)
