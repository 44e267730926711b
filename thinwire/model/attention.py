"""Causal attention: a kernel of our own on CPU, torch's elsewhere, and the pattern for those who want to see it."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

WIDEST_HEAD = 128
"""The CPU kernel is made for narrow heads (16 in the paper); up to here it was measured to be faster than torch."""


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, sinks: Tensor | None, n_head: int) -> Tensor:
        from thinwire.kernels import attention

        inputs = attention.Inputs(q.contiguous(), k.contiguous(), v.contiguous(), sinks, n_head)
        out, log_totals = attention.forward(inputs)
        ctx.save_for_backward(*inputs[:4], out, log_totals)
        ctx.n_head = n_head
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        from thinwire.kernels import attention

        q, k, v, sinks, out, log_totals = ctx.saved_tensors
        inputs = attention.Inputs(q, k, v, sinks, ctx.n_head)
        *d_qkv, d_sinks = attention.backward(inputs, out, log_totals, grad.contiguous())
        return *d_qkv, None if sinks is None else d_sinks, None


def heads(x: Float[Tensor, "B T D"], n_head: int) -> Float[Tensor, "B H T K"]:
    """Head h owns channels h K to (h + 1) K - 1."""
    return x.unflatten(-1, (n_head, -1)).transpose(1, 2)


def attention_pattern(
    q: Float[Tensor, "B T D"], k: Float[Tensor, "B T D"], sinks: Float[Tensor, " H"] | None, n_head: int
) -> Float[Tensor, "B H T T"]:
    """softmax(q k / sqrt(K)) over earlier keys; with `sinks`, logits of a key without a value, rows sum to below 1."""
    queries, keys = heads(q, n_head), heads(k, n_head)  # (B, H, T, K)
    scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])  # (B, H, T, T): query, key
    future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    scores = scores.masked_fill(future, -torch.inf)
    if sinks is not None:
        scores = torch.cat([scores, sinks[:, None, None].expand(*scores.shape[:-1], 1)], dim=-1)  # (B, H, T, T + 1)
    return scores.softmax(-1)[..., : q.shape[1]]


def causal_attention(
    q: Float[Tensor, "B T D"],
    k: Float[Tensor, "B T D"],
    v: Float[Tensor, "B T D"],
    sinks: Float[Tensor, " H"] | None,
    n_head: int,
) -> Float[Tensor, "B T D"]:
    """Values mixed over positions by `attention_pattern`, which is never held whole where a kernel can do without."""
    plain = q.device.type == "cpu" and q.dtype == k.dtype == v.dtype == torch.float32
    if plain and q.shape[-1] // n_head <= WIDEST_HEAD and not torch.is_autocast_enabled("cpu"):
        return _Attention.apply(q, k, v, sinks, n_head)  # pyright: ignore[reportReturnType]
    if sinks is None:
        queries, keys, values = (heads(x, n_head) for x in (q, k, v))  # (B, H, T, K)
        mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    else:
        mixed = attention_pattern(q, k, sinks, n_head) @ heads(v, n_head)
    return mixed.transpose(1, 2).flatten(2)
