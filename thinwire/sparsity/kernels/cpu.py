"""CPU kernels (numba): exact selection by magnitude on the bit patterns of float32.

For non-negative floats the order of values is the order of their bits read as integers, so the k-th
largest magnitude is found by bisection or counting on integers. Every output element is written by one
thread and no result depends on how rows are shared out, so any number of threads gives the same bytes.
"""

# The compiled functions are untyped for pyright: numba types them at the first call.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from thinwire.sparsity.kernels.blocks import count_blocks
from thinwire.sparsity.projection import Protect

_MAGNITUDE = np.int32(0x7FFFFFFF)
_BIN_SHIFT = np.uint32(16)
_N_BINS = 1 << 15


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


@njit(cache=True)
def _protect_line(bits: np.ndarray, n_keep: int, best: np.ndarray) -> None:
    """Set the sign bit on the `n_keep` largest entries of one line; lower index wins ties."""
    best[:] = -1
    for j in range(bits.size):
        value = bits[j]
        if value > best[n_keep - 1]:
            slot = n_keep - 1
            while slot > 0 and value > best[slot - 1]:
                best[slot] = best[slot - 1]
                slot -= 1
            best[slot] = value
    fourth = best[n_keep - 1]
    ties = 0
    for slot in range(n_keep):
        ties += best[slot] == fourth
    for j in range(bits.size):
        if bits[j] > fourth:
            bits[j] |= np.int32(-(2**31))
        elif bits[j] == fourth and ties > 0:
            ties -= 1
            bits[j] |= np.int32(-(2**31))


@njit(parallel=True, cache=True)
def _protect_rows(bits: np.ndarray, n_keep: int, n_blocks: int) -> None:
    for block in prange(n_blocks):
        best = np.empty(n_keep, np.int32)
        for r in range(bits.shape[0] * block // n_blocks, bits.shape[0] * (block + 1) // n_blocks):
            _protect_line(bits[r], n_keep, best)


@njit(parallel=True, cache=True)
def _protect_columns(bits: np.ndarray, n_keep: int, n_blocks: int) -> None:
    """As `_protect_rows`, for the columns of a row-major matrix: a sorted list of the best for all columns at once."""
    n_rows, n_columns = bits.shape
    for block in prange(n_blocks):
        first, last = n_columns * block // n_blocks, n_columns * (block + 1) // n_blocks
        best = np.full((n_keep, last - first), np.int32(-1))
        sinking = np.empty(last - first, np.int32)
        for r in range(n_rows):
            sinking[:] = bits[r, first:last]
            for slot in range(n_keep):
                line = best[slot]
                for c in range(line.size):
                    larger = max(line[c], sinking[c])
                    sinking[c] = min(line[c], sinking[c])
                    line[c] = larger
        fourth = best[n_keep - 1]
        ties = np.zeros(last - first, np.int32)
        for slot in range(n_keep):
            for c in range(last - first):
                ties[c] += best[slot, c] == fourth[c]
        for r in range(n_rows):
            row = bits[r, first:last]
            for c in range(row.size):
                tie = np.int32(row[c] == fourth[c]) & np.int32(ties[c] > 0)
                ties[c] -= tie
                row[c] |= -(np.int32(row[c] > fourth[c]) | tie) & np.int32(-(2**31))


@njit(parallel=True, cache=True)
def _magnitudes(weight: np.ndarray, bits: np.ndarray, n_blocks: int) -> None:
    for block in prange(n_blocks):
        first, last = weight.size * block // n_blocks, weight.size * (block + 1) // n_blocks
        source, magnitude = weight[first:last], bits[first:last]
        for i in range(source.size):
            magnitude[i] = source[i] & _MAGNITUDE


@njit(parallel=True, cache=True)
def _histogram(bits: np.ndarray, counts: np.ndarray, n_blocks: int) -> None:
    """Entries by the upper 16 of their bits; protected ones, with the sign bit, fall into the upper half."""
    for block in prange(n_blocks):
        part = bits[bits.size * block // n_blocks : bits.size * (block + 1) // n_blocks]
        count = counts[block]
        for i in range(part.size):
            count[part[i] >> _BIN_SHIFT] += 1


@njit(cache=True)
def _select_bin(counts: np.ndarray, k: int) -> tuple[int, int]:
    """(bin, above): the bin that holds the k-th largest, and how many entries lie in higher bins."""
    above = 0
    for bin_ in range(counts.size - 1, -1, -1):
        if above + counts[bin_] >= k:
            return bin_, above
        above += counts[bin_]
    return 0, above


@njit(parallel=True, cache=True)
def _gather_bin(bits: np.ndarray, bin_: int, counts: np.ndarray, n_blocks: int) -> np.ndarray:
    """The entries of one bin, in order; `counts` says how many each block of `bits` holds."""
    found = np.empty(counts.sum(), np.uint32)
    for block in prange(n_blocks):
        part = bits[bits.size * block // n_blocks : bits.size * (block + 1) // n_blocks]
        place = found[counts[:block].sum() :]
        n, last = 0, counts[block]
        for i in range(part.size):
            if n == last:
                break
            place[n] = part[i]
            n += np.int64(part[i] >> _BIN_SHIFT == bin_)
    return found


@njit(parallel=True, cache=True)
def _zero_below(weight: np.ndarray, bits: np.ndarray, threshold: int, n_blocks: int) -> None:
    """Zero what is unprotected and smaller than `threshold`; with the sign bit protected entries are above it."""
    for block in prange(n_blocks):
        first, last = weight.size * block // n_blocks, weight.size * (block + 1) // n_blocks
        target, rank = weight[first:last], bits[first:last]
        for i in range(target.size):
            target[i] &= -np.int32(rank[i] >= threshold)


@njit(cache=True)
def _zero_ties(weight: np.ndarray, bits: np.ndarray, threshold: int, n_keep: int) -> None:
    for i in range(weight.size):
        if bits[i] == threshold:
            if n_keep > 0:
                n_keep -= 1
            else:
                weight[i] = np.int32(0)


def project_topk_(weight: Tensor, k: int, protect: Protect, min_per_line: int) -> None:
    """Keep `k` entries of contiguous float32 `weight`; see `thinwire.sparsity.projection`.

    Protected entries carry the sign bit in `bits`. The threshold among the rest comes from a histogram of
    the upper 15 bits of the magnitudes and an exact selection inside one bin.
    """
    flat = weight.detach().view(-1).numpy().view(np.int32)
    bits, n_blocks = np.empty_like(flat), count_blocks()
    _magnitudes(flat, bits, n_blocks)
    if protect and min_per_line:
        lines = _protect_rows if protect == "rows" else _protect_columns
        n_keep = min(min_per_line, weight.shape[1 if protect == "rows" else 0])
        lines(bits.reshape(weight.shape), n_keep, n_blocks)
        k -= n_keep * weight.shape[0 if protect == "rows" else 1]
    ranks = bits.view(np.uint32)
    if k <= 0:
        _zero_below(flat, ranks, np.uint32(2**31), n_blocks)
        return
    counts = np.zeros((n_blocks, 2 * _N_BINS), np.int64)
    _histogram(ranks, counts, n_blocks)
    bin_, above = _select_bin(counts[:, :_N_BINS].sum(axis=0), k)
    candidates = _gather_bin(ranks, np.uint32(bin_), counts[:, bin_].copy(), n_blocks)
    wanted = k - above
    threshold = np.partition(candidates, candidates.size - wanted)[candidates.size - wanted]
    _zero_below(flat, ranks, threshold, n_blocks)
    ties, larger = int((candidates == threshold).sum()), int((candidates > threshold).sum())
    if larger + ties > wanted:
        _zero_ties(flat, ranks, threshold, wanted - larger)
