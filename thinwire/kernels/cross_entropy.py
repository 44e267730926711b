"""CPU kernel (numba): cross-entropy of a chunk of logits, which become their own gradient in place.

Each row, and each column of the bigram table's gradient, is owned by one thread: any number of threads gives the
same bytes.
"""

# The compiled functions are untyped for pyright: numba types them at the first call.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

import math

import numpy as np
from numba import prange
from torch import Tensor

from thinwire.kernels.blocks import count_blocks
from thinwire.kernels.compiled import kernel

_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_SMALLEST = np.float32(-87.0)  # exp of less is 0 to float32's precision beside a 1


@kernel(fastmath={"contract"})
def exp_(x: np.ndarray, powers: np.ndarray) -> None:
    """exp of non-positive float32 in place, to about one unit in the last place; NaN stays NaN.

    x = n ln 2 + r: a polynomial in r (Cephes' expf) times 2^n, whose bits go through `powers` (int32, as long as x).
    A plain loop, so that the compiler makes vector code of it; math.exp would be a call per element.
    """
    for j in range(x.size):
        value = x[j] if not x[j] < _SMALLEST else _SMALLEST
        n = np.floor(value * _LOG2_E + np.float32(0.5))
        r = value - n * _LN2_HIGH - n * _LN2_LOW
        p = np.float32(1.9875691500e-4) * r + np.float32(1.3981999507e-3)
        p = p * r + np.float32(8.3334519073e-3)
        p = p * r + np.float32(4.1665795894e-2)
        p = p * r + np.float32(1.6666665459e-1)
        p = p * r + np.float32(5.0000001201e-1)
        x[j] = p * r * r + r + np.float32(1)
        powers[j] = (np.int32(n) + np.int32(127)) << np.int32(23)
    scales = powers.view(np.float32)
    for j in range(x.size):
        x[j] *= scales[j]


@kernel(fastmath={"contract", "reassoc"})
def _row_loss(row: np.ndarray, target: int, scale: float, powers: np.ndarray) -> float:
    """Cross-entropy of one row, which becomes (softmax - one-hot) x scale."""
    wanted, largest = row[target], row[0]
    for j in range(row.size):
        largest = max(largest, row[j])
    for j in range(row.size):
        row[j] -= largest
    exp_(row, powers)
    total = np.float32(0)
    for j in range(row.size):
        total += row[j]
    for j in range(row.size):
        row[j] *= scale / total
    row[target] -= scale
    return math.log(total) + largest - wanted


@kernel(parallel=True)
def _losses(
    logits: np.ndarray,
    bigram: np.ndarray,
    tokens: np.ndarray,
    targets: np.ndarray,
    scale: float,
    losses: np.ndarray,
    n_blocks: int,
) -> None:
    n_rows, width = logits.shape
    for block in prange(n_blocks):
        powers = np.empty(width, np.int32)
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            row = logits[r]
            if bigram.size:
                row += bigram[tokens[r]]
            losses[r] = _row_loss(row, targets[r], scale, powers)


@kernel(parallel=True)
def _add_rows(out: np.ndarray, places: np.ndarray, rows: np.ndarray, n_blocks: int) -> None:
    width = out.shape[1]
    for block in prange(n_blocks):
        first, last = width * block // n_blocks, width * (block + 1) // n_blocks
        for r in range(places.size):
            total, row = out[places[r], first:last], rows[r, first:last]
            for j in range(total.size):
                total[j] += row[j]


def cross_entropy_(logits: Tensor, bigram: Tensor | None, tokens: Tensor, targets: Tensor, scale: float) -> Tensor:
    """Losses (n,) in nats of contiguous float32 `logits` (n, V) + bigram[tokens]; `logits` becomes their gradient.

    The gradient is that of `scale` times the sum of the losses.
    """
    losses = logits.new_empty(len(logits))
    table = np.empty((0, 0), np.float32) if bigram is None else bigram.detach().numpy()
    arrays = (logits.numpy(), table, tokens.numpy(), targets.numpy(), np.float32(scale), losses.numpy())
    _losses(*arrays, count_blocks())
    return losses


def add_rows_(out: Tensor, places: Tensor, rows: Tensor) -> None:
    """out[places[r]] += rows[r] for every r, in the order of r."""
    _add_rows(out.numpy(), places.numpy(), rows.numpy(), count_blocks())
