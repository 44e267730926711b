"""CPU kernels (numba): AbsTopK, an exact selection by magnitude on the bit patterns of float32.

For non-negative floats the order of values is the order of their bits read as integers, so the k-th
largest magnitude is found by bisection on integers. Every output element is written by one
thread and no result depends on how rows are shared out, so any number of threads gives the same bytes.
"""

# The compiled functions are untyped for pyright: numba types them at the first call.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

import numpy as np
import torch
from numba import prange
from torch import Tensor

from thinwire.kernels.blocks import count_blocks
from thinwire.kernels.compiled import kernel

MAGNITUDE = np.int32(0x7FFFFFFF)


@kernel()
def _kth_largest(bits: np.ndarray, k: int) -> tuple[int, bool]:
    """(t, exact): t is a threshold with count(bits >= t) >= k > count(bits > t); exact: the count is k."""
    low, high = np.int32(0), np.int32(0)
    for j in range(bits.size):
        high = max(high, bits[j])
    if high == MAGNITUDE:
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


@kernel()
def first_guess(width: int) -> np.ndarray:
    """What `find_threshold` learns from one row for the next: (threshold, bits from one entry to the next one's)."""
    guess = np.empty(2)
    guess[0], guess[1] = 0x3F000000, (1 << 24) / width  # 0.5 and, thereabouts, two octaves for all entries
    return guess


@kernel()
def _next_try(tried: int, surplus: int, n_tries: int, guess: np.ndarray) -> int:
    """Where to look on while the threshold has been passed on one side alone: farther each time."""
    step = np.int64(min(guess[1] * abs(surplus) * 1.5 * 4.0 ** (n_tries - 1), 2.0**31)) + 1
    return tried + step if surplus > 0 else tried - step


@kernel()
def _kth_largest_near(bits: np.ndarray, k: int, guess: np.ndarray) -> tuple[int, bool]:
    """As `_kth_largest` of a row that resembles the last one: a third of the passes over it.

    From the last row's threshold outwards, then between bounds by the counts at them; every third pass bisects, so
    that a row of another kind takes at most three times 31.
    """
    high, n_low = np.int32(0), np.int32(0)
    for j in range(bits.size):
        high = max(high, bits[j])
        n_low += np.int32(bits[j] > 0)
    if n_low <= k:
        return np.int32(n_low == k), bool(n_low == k)
    low, top, n_high, n_tries = np.int64(1), np.int64(high) + 1, np.int64(0), 0
    above, tried = top, np.int64(guess[0])
    while above - low > 1:
        middle = np.int32(min(max(tried, low + 1), above - 1))
        count, n_tries = np.int32(0), n_tries + 1
        for j in range(bits.size):
            count += np.int32(bits[j] >= middle)
        if count == k:
            guess[0] = middle
            return middle, True
        if count > k:
            low, n_low = np.int64(middle), count
        else:
            above, n_high = np.int64(middle), np.int64(count)
        if n_tries <= 2 and (low == 1 or above == top):
            tried = _next_try(np.int64(middle), count - k, n_tries, guess)
        elif n_tries % 3 == 0:
            tried = (low + above) >> 1
        else:
            tried = low + (above - low) * (n_low - k) // (n_low - n_high)
            guess[1] += 0.25 * ((above - low) / (n_low - n_high) - guess[1])
    guess[0] = low
    return np.int32(low), False


@kernel()
def find_threshold(bits: np.ndarray, k: int, guess: np.ndarray) -> int:
    """The threshold t for which `bits >= t` marks the k largest of a row of magnitudes.

    Where entries tie for the last places `bits` of the later ones are lowered by one, so that the lower index wins.
    """
    if k >= bits.size:
        return np.int32(0)
    threshold, exact = _kth_largest_near(bits, k, guess)
    if exact:
        return threshold
    ties, j = np.int32(k), 0
    for i in range(bits.size):
        ties -= np.int32(bits[i] > threshold)
    while ties > 0:
        ties -= np.int32(bits[j] == threshold)
        j += 1
    rest = bits[j:]
    for i in range(rest.size):
        rest[i] -= np.int32(rest[i] == threshold)
    return threshold


@kernel(parallel=True)
def _abs_topk_rows(x: np.ndarray, k: int, kept: np.ndarray, mask: np.ndarray, n_blocks: int) -> None:
    n_rows, width = x.shape
    for block in prange(n_blocks):
        bits, guess = np.empty(width, np.int32), first_guess(width)
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            row, out, marks = x[r], kept[r], mask[r]
            for j in range(width):
                bits[j] = row[j] & MAGNITUDE
            threshold = find_threshold(bits, k, guess)
            for j in range(width):
                marks[j] = bits[j] >= threshold
                out[j] = row[j] & -np.int32(bits[j] >= threshold)


@kernel(parallel=True)
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
