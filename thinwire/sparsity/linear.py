"""A linear map that skips zeros, of its weights or of its activations, where that pays. All of its products
are exact for finite values: what a zero would be multiplied with is skipped.

Gao et al. 2025, section 2.1, keeps gradients of zeroed weights, so that they can come back: the weight gradient of
`linear` is always the whole one. `support_linear` computes that of the stored entries alone.
"""

from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from thinwire.sparsity.costs import CostTable, Product, cheapest
from thinwire.sparsity.support import Support, SupportMatrix


class Plan(NamedTuple):
    """How a linear map is computed."""

    forward: Product
    backward: Product
    """The gradient of the input."""
    listed: Literal["source", "target"] | None
    """The side whose zeros the gradient of the weight skips."""


DENSE = Plan("dense", "dense", None)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, plan: Plan) -> Tensor:
        from thinwire.kernels import kept, products

        ctx.plan = plan
        if "weights" in plan:
            ctx.rows = products.compress(weight)
        ctx.save_for_backward(x, weight)
        flat = x.detach().reshape(-1, x.shape[-1])
        if plan.forward == "weights":
            y = products.multiply(flat, ctx.rows, bias)
        elif plan.forward == "activations":
            y = kept.multiply(flat, weight.T.contiguous(), bias)
        else:
            y = F.linear(flat, weight, bias)
        return y.view(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        from thinwire.kernels import kept, products

        x, weight = ctx.saved_tensors
        dy, flat = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        if ctx.plan.backward == "weights":
            dx = products.multiply(dy, products.transposed(ctx.rows, x.shape[-1]))
        elif ctx.plan.backward == "activations":
            dx = kept.multiply(dy, weight)
        else:
            dx = dy @ weight
        if ctx.plan.listed == "source":
            dw = kept.sum_products(flat, dy).T.contiguous()
        elif ctx.plan.listed == "target":
            dw = kept.sum_products(dy, flat)
        else:
            dw = dy.T @ flat
        return dx.view_as(x), dw, dy.sum(0) if ctx.needs_input_grad[2] else None, None


def linear(
    x: Float[Tensor, "*batch source"],
    weight: Float[Tensor, "target source"],
    bias: Float[Tensor, " target"] | None,
    costs: CostTable | None,
    shares: tuple[float, float] = (1.0, 1.0),
) -> Float[Tensor, "*batch target"]:
    """`x @ weight.T + bias`, skipping zeros of the weight or of activations where the table says that this is faster.

    `shares` of x and of the result's gradient are what AbsTopK leaves: they decide what is computed how, not what comes
    out. Without a table, on other devices, for other types and under autocast it is torch's own.
    """
    plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if costs and plain:
        plan = _plan(costs, weight, *shares)
        if plan != DENSE:
            return _Linear.apply(x, weight, bias, plan)  # pyright: ignore[reportReturnType]
    return F.linear(x, weight, bias)


def _plan(costs: CostTable, weight: Tensor, source: float, target: float) -> Plan:
    n_out, n_in = weight.shape
    n_nonzero = int(torch.count_nonzero(weight))
    forward = cheapest(costs, (n_out, n_in), n_nonzero, source)
    backward = cheapest(costs, (n_out, n_in), n_nonzero, target)
    fewer = "source" if (source, n_in) < (target, n_out) else "target"  # left; of equal shares, on the narrower side
    pays = cheapest(costs, (n_out, n_in), None, min(source, target)) == "activations"
    return Plan(forward, backward, fewer if pays else None)


class _SupportLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        values: Tensor,
        bias: Tensor | None,
        probe: Tensor,  # noqa: ARG004  an input for its gradient alone
        support: Support,
        probes: Tensor,
    ) -> Tensor:
        from thinwire.kernels import products

        ctx.support, ctx.probes = support, probes
        ctx.save_for_backward(x, values)
        rows = products.Rows(support.starts, support.columns, values.detach().numpy())
        flat = x.detach().reshape(-1, x.shape[-1]).contiguous()
        return products.multiply(flat, rows, bias).view(*x.shape[:-1], support.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        from thinwire.kernels import support as kernels

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
