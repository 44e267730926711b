"""CPU kernels (numba): AbsTopK, an exact selection by magnitude on the bit patterns of float32.

For non-negative floats the order of values is the order of their bits read as integers, so the k-th
largest magnitude is found by bisection on integers. Every output element is written by one
thread and no result depends on how rows are shared out, so any number of threads gives the same bytes.
"""

# The compiled functions are untyped for pyright: numba types them at the first call.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from thinwire.sparsity.kernels.blocks import count_blocks

_MAGNITUDE = np.int32(0x7FFFFFFF)


@njit(cache=True)
def _kth_largest(bits: np.ndarray, k: int) -> tuple[int, bool]:
    """(t, exact): t is a threshold with count(bits >= t) >= k > count(bits > t); exact: the count is k."""
    low, high = np.int32(0), np.int32(0)
    for j in range(bits.size):
        high = max(high, bits[j])
    if high == _MAGNITUDE:
        high -= np.int32(1)
    high += np.int32(1)
    while high - low > 1:
        middle = np.int32(low + ((high - low) >> 1))
        count = np.int32(0)
        for j in range(bits.size):
            count += np.int32(bits[j] >= middle)
        if count == k:
            return middle, True
        if count > k:
            low = middle
        else:
            high = middle
    return low, False


@njit(cache=True)
def _abs_topk_row(row: np.ndarray, bits: np.ndarray, k: int, kept: np.ndarray, mask: np.ndarray) -> None:
    for j in range(row.size):
        bits[j] = row[j] & _MAGNITUDE
    threshold, exact = _kth_largest(bits, k)
    if exact:
        for j in range(row.size):
            keep = bits[j] >= threshold
            mask[j] = keep
            kept[j] = row[j] if keep else np.int32(0)
        return
    ties = np.int32(k)
    for j in range(row.size):
        ties -= np.int32(bits[j] > threshold)
    for j in range(row.size):
        keep = bits[j] > threshold
        if bits[j] == threshold and ties > 0:
            keep = True
            ties -= 1
        mask[j] = keep
        kept[j] = row[j] if keep else np.int32(0)


@njit(parallel=True, cache=True)
def _abs_topk_rows(x: np.ndarray, k: int, kept: np.ndarray, mask: np.ndarray, n_blocks: int) -> None:
    n_rows, width = x.shape
    for block in prange(n_blocks):
        bits = np.empty(width, np.int32)
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            _abs_topk_row(x[r], bits, k, kept[r], mask[r])


@njit(parallel=True, cache=True)
def _masked(x: np.ndarray, mask: np.ndarray, out: np.ndarray, n_blocks: int) -> None:
    for block in prange(n_blocks):
        first, last = x.size * block // n_blocks, x.size * (block + 1) // n_blocks
        bits, kept, result = x[first:last], mask[first:last], out[first:last]
        for i in range(bits.size):
            result[i] = bits[i] & -np.int32(kept[i])  # all bits or none: NaN is dropped too


def abs_topk(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(kept, mask) of contiguous float32 `x`, rows along the last axis; see `thinwire.sparsity.topk`."""
    kept, mask = torch.empty_like(x), torch.empty_like(x, dtype=torch.bool)
    shape = (-1, x.shape[-1])
    _abs_topk_rows(
        x.detach().view(shape).numpy().view(np.int32),
        k,
        kept.view(shape).numpy().view(np.int32),
        mask.view(shape).numpy(),
        count_blocks(),
    )
    return kept, mask


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """`x` where `mask`, else 0; both contiguous, of one shape."""
    out = torch.empty_like(x)
    flat = (
        x.view(-1).numpy().view(np.int32),
        mask.view(-1).numpy().view(np.uint8),
        out.view(-1).numpy().view(np.int32),
    )
    _masked(*flat, count_blocks())
    return out
