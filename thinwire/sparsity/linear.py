"""A linear map that uses the zeros of its weights where that pays. Both of its products are exact.

Gao et al. 2025, section 2.1, keeps gradients of zeroed weights, so that they can come back: the weight gradient here is
always the dense one.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from thinwire.sparsity.costs import CostTable, sparse_pays


class _SparseLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        from thinwire.sparsity.kernels import products

        ctx.rows = products.compress(weight)
        ctx.save_for_backward(x)
        flat = x.detach().reshape(-1, x.shape[-1])
        return products.multiply(flat, ctx.rows, bias).view(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        from thinwire.sparsity.kernels import products

        (x,) = ctx.saved_tensors
        dy, flat = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        dx = products.multiply(dy, products.transposed(ctx.rows, x.shape[-1])).view_as(x)
        return dx, dy.T @ flat, dy.sum(0) if ctx.needs_input_grad[2] else None


def linear(
    x: Float[Tensor, "*batch source"],
    weight: Float[Tensor, "target source"],
    bias: Float[Tensor, " target"] | None,
    costs: CostTable | None,
) -> Float[Tensor, "*batch target"]:
    """`x @ weight.T + bias`, over nonzero weights alone where the table says that this is faster.

    Without a table, on other devices and for other types than float32 it is torch's own.
    """
    fits = costs and x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    if costs and fits and sparse_pays(costs, (len(weight), x.shape[-1]), int(torch.count_nonzero(weight))):
        return _SparseLinear.apply(x, weight, bias)  # pyright: ignore[reportReturnType]
    return F.linear(x, weight, bias)
