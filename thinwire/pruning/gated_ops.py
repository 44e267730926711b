"""Differentiable steps of a gated forward pass, each a kernel and its gradient. CPU, float32.

A frozen model has no weight gradients: what flows back is the gradient of activations, and of the gates on the way.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from thinwire.kernels import gated


@dataclass(frozen=True)
class Matrix:
    """A frozen weight matrix (target, source), stored by source for the way forward, by target for the way back."""

    weight: np.ndarray
    bias: np.ndarray
    by_source: gated.Lines
    by_target: gated.Lines

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor) -> "Matrix":
        dense = weight.detach().numpy()
        return cls(dense, bias.detach().numpy(), gated.Lines(dense.T), gated.Lines(dense))


class Keys(NamedTuple):
    """What each query attends to."""

    rows: np.ndarray
    """(query, key) -> row of the keys."""
    counts: np.ndarray
    """Keys of each query."""
    d_head: int


class Gate(torch.autograd.Function):
    """AbsTopK, then shut channels at their means."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor, mean: Tensor, k: int) -> Tensor:
        is_open = gate.numpy() != 0
        if not ctx.needs_input_grad[0] and not ctx.needs_input_grad[1] and k < x.shape[1]:
            chosen = np.flatnonzero(is_open)
            if len(chosen) <= gated.FEW:
                return torch.from_numpy(gated.gate_few(x.numpy(), k, chosen, mean.numpy()))
        out, ctx.kept = gated.gate(x.numpy(), k, is_open, mean.numpy())
        ctx.x, ctx.is_open, ctx.mean = x.numpy(), is_open, mean.numpy()
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple:  # pyright: ignore[reportIncompatibleMethodOverride]
        d_x, d_gate = gated.gate_backward(ctx.x, ctx.kept, ctx.is_open, ctx.mean, d_out.contiguous().numpy())
        return torch.from_numpy(d_x), torch.from_numpy(d_gate), None, None


class Product(torch.autograd.Function):
    """constant + W x over the open sources; backward from the open targets."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, matrix: Matrix, constant: np.ndarray, sources: np.ndarray, targets: np.ndarray
    ) -> Tensor:
        ctx.matrix, ctx.targets, ctx.width = matrix, targets, x.shape[1]
        return torch.from_numpy(matrix.by_source.product(x.numpy(), sources, constant))

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple:  # pyright: ignore[reportIncompatibleMethodOverride]
        nothing = np.zeros(ctx.width, np.float32)
        d_x = ctx.matrix.by_target.product(d_out.contiguous().numpy(), ctx.targets, nothing)
        return torch.from_numpy(d_x), None, None, None, None


class Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float, frozen: np.ndarray | None) -> tuple[Tensor, Tensor]:
        out, scale = gated.norm(x.numpy(), gain.numpy(), eps, frozen)
        ctx.x, ctx.gain, ctx.scale, ctx.frozen = x.numpy(), gain.numpy(), scale, frozen is not None
        scale = torch.from_numpy(scale)
        ctx.mark_non_differentiable(scale)
        return torch.from_numpy(out), scale

    @staticmethod
    def backward(ctx: Any, d_out: Tensor, _: Tensor) -> tuple:  # pyright: ignore[reportIncompatibleMethodOverride]
        d_x = gated.norm_backward(ctx.x, ctx.gain, ctx.scale, ctx.frozen, d_out.contiguous().numpy())
        return torch.from_numpy(d_x), None, None, None


class Attend(torch.autograd.Function):
    """Each query over its own key rows in the given heads; also returns each query's total attention per head."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, keys: Keys, heads: np.ndarray, elsewhere: Tensor, sink: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        ctx.inputs = queries, key, value = q.numpy(), k.numpy(), v.numpy()
        ctx.keys = rows, counts, d_head = keys
        out, ctx.pattern = gated.attend(queries, key, value, rows, counts, d_head, heads, elsewhere.numpy(), sink)
        gain = torch.from_numpy(ctx.pattern.sum(-1).T)
        ctx.mark_non_differentiable(gain)
        return torch.from_numpy(out), gain

    @staticmethod
    def backward(ctx: Any, d_out: Tensor, _: Tensor) -> tuple:  # pyright: ignore[reportIncompatibleMethodOverride]
        (q, k, v), (rows, counts, d_head) = ctx.inputs, ctx.keys
        d_qkv = gated.attend_backward(q, k, v, rows, counts, d_head, ctx.pattern, d_out.contiguous().numpy())
        return *map(torch.from_numpy, d_qkv), None, None, None, None


class Take(torch.autograd.Function):
    """Rows of x; backward adds up, in order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: np.ndarray) -> Tensor:
        ctx.index, ctx.n_rows = index, len(x)
        return x[torch.from_numpy(index)]

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple:  # pyright: ignore[reportIncompatibleMethodOverride]
        return torch.from_numpy(gated.add_rows(d_out.contiguous().numpy(), ctx.index, ctx.n_rows)), None
