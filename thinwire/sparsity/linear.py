"""A linear map that uses the zeros of its weights where that pays. Both of its products are exact.

Gao et al. 2025, section 2.1, keeps gradients of zeroed weights, so that they can come back: the weight gradient of
`linear` is always the dense one. `support_linear` computes that of the stored entries alone.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from thinwire.sparsity.costs import CostTable, sparse_pays
from thinwire.sparsity.support import Support, SupportMatrix


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


class _SupportLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, values: Tensor, bias: Tensor | None, probe: Tensor, support: Support, probes: Tensor
    ) -> Tensor:
        from thinwire.sparsity.kernels import products

        ctx.support, ctx.probes = support, probes
        ctx.save_for_backward(x, values)
        rows = products.Rows(support.starts, support.columns, values.detach().numpy())
        flat = x.detach().reshape(-1, x.shape[-1]).contiguous()
        return products.multiply(flat, rows, bias).view(*x.shape[:-1], support.shape[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        from thinwire.sparsity.kernels import support as kernels

        x, values = ctx.saved_tensors
        s: Support = ctx.support
        dy, flat = (t.reshape(-1, t.shape[-1]).contiguous() for t in (grad, x))
        by_column = (s.column_starts, s.rows, values.detach().numpy()[s.order])
        found = kernels.backward(flat.numpy(), dy.numpy(), s.starts, s.columns, *by_column, ctx.probes.numpy())
        dx, d_values, d_bias, d_probe = map(torch.from_numpy, found)
        return dx.view_as(x), d_values, d_bias if ctx.needs_input_grad[2] else None, d_probe, None, None


def support_linear(
    x: Float[Tensor, "*batch source"], weight: SupportMatrix, bias: Float[Tensor, " target"] | None
) -> Float[Tensor, "*batch target"]:
    """`x @ W.T + bias` for float32 on CPU; gradients reach the stored entries of W and `weight.probe`."""
    return _SupportLinear.apply(x, weight.values, bias, weight.probe, weight.support, weight.probes)  # pyright: ignore[reportReturnType]
