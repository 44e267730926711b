"""Unembedding, bigram table and cross-entropy in one pass over chunks of tokens.

The logits of a chunk become their own gradient in place, so that (tokens x vocabulary) is never held whole; memory is
that of one chunk.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.sparsity.costs import CostTable, cheapest
from thinwire.sparsity.support import SupportMatrix

CHUNK = 512
"""Tokens whose logits exist at one time."""


class _Loss(torch.autograd.Function):
    """The gradients are there after the forward pass; the backward pass scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        unembed: Tensor,
        bigram: Tensor | None,
        tokens: Tensor,
        targets: Tensor,
        sparse: bool,
        differentiate: bool,
    ) -> Tensor:
        from thinwire.kernels import cross_entropy, products

        rows = products.compress(unembed) if sparse else None
        columns = products.transposed(rows, x.shape[1]) if rows else None
        dx = torch.empty_like(x) if differentiate else None
        d_unembed = torch.zeros_like(unembed) if differentiate else None
        d_bigram = torch.zeros_like(bigram) if differentiate and bigram is not None else None
        losses = []
        for first in range(0, len(x), CHUNK):
            part = slice(first, first + CHUNK)
            logits = products.multiply(x[part], rows) if rows else x[part] @ unembed.T
            losses.append(cross_entropy.cross_entropy_(logits, bigram, tokens[part], targets[part], 1 / len(x)))
            if dx is None or d_unembed is None:
                continue
            dx[part] = products.multiply(logits, columns) if columns else logits @ unembed
            d_unembed.addmm_(logits.T, x[part])
            if d_bigram is not None:
                cross_entropy.add_rows_(d_bigram, tokens[part], logits)
        ctx.gradients = (dx, d_unembed, d_bigram)
        return torch.cat(losses).mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradients, ctx.gradients = ctx.gradients, None  # nothing else holds them: they become .grad without a copy
        return (*(g if g is None else g.mul_(grad) for g in gradients), None, None, None, None)


class _SupportLoss(torch.autograd.Function):
    """As `_Loss`, over the stored entries of the unembedding; `values` and `probe` are the leaves of `unembed`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        values: Tensor,
        probe: Tensor,
        bigram: Tensor | None,
        unembed: SupportMatrix,
        tokens: Tensor,
        targets: Tensor,
        differentiate: bool,
    ) -> Tensor:
        from thinwire.kernels import cross_entropy, products, support

        s, by_row = unembed.support, values.detach().numpy()
        rows = products.Rows(s.starts, s.columns, by_row)
        structure = (s.starts, s.columns, s.column_starts, s.rows, by_row[s.order])
        dx, d_values, d_probe = (torch.zeros_like(t) if differentiate else None for t in (x, values, probe))
        d_bigram = torch.zeros_like(bigram) if differentiate and bigram is not None else None
        losses = []
        for first in range(0, len(x), CHUNK):
            part = slice(first, first + CHUNK)
            logits = products.multiply(x[part], rows)
            losses.append(cross_entropy.cross_entropy_(logits, bigram, tokens[part], targets[part], 1 / len(x)))
            if dx is None or d_values is None or d_probe is None:
                continue
            found = support.backward(x[part].detach().numpy(), logits.numpy(), *structure, unembed.probes.numpy())
            dx[part] = torch.from_numpy(found[0])
            d_values += torch.from_numpy(found[1])
            d_probe += torch.from_numpy(found[3])
            if d_bigram is not None:
                cross_entropy.add_rows_(d_bigram, tokens[part], logits)
        ctx.gradients = (dx, d_values, d_probe, d_bigram)
        return torch.cat(losses).mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradients, ctx.gradients = ctx.gradients, None
        return (*(g if g is None else g.mul_(grad) for g in gradients), None, None, None, None)


def unembed_support_loss(
    x: Float[Tensor, "n D"],
    unembed: SupportMatrix,
    bigram: Float[Tensor, "V V"] | None,
    tokens: Int[Tensor, " n"],
    targets: Int[Tensor, " n"],
) -> Float[Tensor, ""]:
    """`unembed_loss` over the stored entries of the unembedding. Its backward pass can run once."""
    leaves = (x.contiguous(), unembed.values, unembed.probe, bigram)
    return _SupportLoss.apply(*leaves, unembed, tokens, targets, torch.is_grad_enabled())  # pyright: ignore[reportReturnType]


def unembed_loss(
    x: Float[Tensor, "n D"],
    unembed: Float[Tensor, "V D"],
    bigram: Float[Tensor, "V V"] | None,
    tokens: Int[Tensor, " n"],
    targets: Int[Tensor, " n"],
    costs: CostTable | None = None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy, nats, of the logits `x @ unembed.T + bigram[tokens]`. Its backward pass can run once."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        logits = F.linear(x, unembed)
        logits = logits if bigram is None else logits + F.embedding(tokens, bigram)
        return F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), targets)
    shape = (len(unembed), x.shape[1])
    sparse = bool(costs) and cheapest(costs, shape, int(torch.count_nonzero(unembed))) == "weights"
    differentiate = torch.is_grad_enabled()  # which needs_input_grad does not tell
    return _Loss.apply(x.contiguous(), unembed, bigram, tokens, targets, sparse, differentiate)  # pyright: ignore[reportReturnType]
