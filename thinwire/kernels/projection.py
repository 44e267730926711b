"""CPU kernels (numba): the projection of a float32 matrix in two passes over its entries, exact.

    1. guess     a sample of the entries gives a narrow bracket in which the threshold almost surely lies
    2. scan      count the entries above the bracket, note the places of those inside it
    3. select    the threshold is found exactly among the noted ones; where the bracket missed, it becomes everything
    4. drop      zero what is below the threshold and below what its line keeps

A line with enough entries above the bracket needs no protection of its own; only the largest entries of the others are
looked for. The sample is a fixed one, so the result, and the time, are a pure function of the weights. Blocks are runs
of rows; no result depends on their number.
"""

# The compiled functions are untyped for pyright: numba types them at the first call.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false

import math

import numpy as np
from numba import prange
from torch import Tensor

from thinwire.kernels.blocks import count_blocks
from thinwire.kernels.compiled import kernel
from thinwire.kernels.contract import Protect
from thinwire.kernels.cpu import _kth_largest

_MAGNITUDE = np.int32(0x7FFFFFFF)
_NONE, _ROWS, _COLUMNS = 0, 1, 2
_CHUNK = 64  # entries tested at once: long enough for vector code, short enough that most chunks hold nothing
_SMALL = 1 << 13  # entries up to which a bracket saves nothing
_ALONE = 1 << 16  # entries up to which waking other threads costs more than it saves
_SAMPLE = 32  # sample size per square root of the size
_SIGMAS = 4.5  # half width of the bracket, in standard deviations of the sample's count


@kernel()
def _bracket(flat: np.ndarray, k: int, n_protected: int) -> tuple[int, int]:
    """(low, high) around the k-th largest magnitude of the entries that are left when `n_protected` are taken out."""
    if flat.size <= _SMALL:
        return np.int32(0), _MAGNITUDE
    stride = max(1, int(flat.size / (_SAMPLE * math.sqrt(flat.size)))) | 1  # odd: visits every column
    sample = np.empty((flat.size - 1) // stride + 1, np.int32)
    for i in range(sample.size):
        sample[i] = flat[i * stride] & _MAGNITUDE
    share = sample.size / flat.size
    margin = _SIGMAS * math.sqrt(k * share * (1 - k / flat.size)) + 2
    first, last = int(k * share - margin), int((k + n_protected) * share + margin)
    low = np.int32(_kth_largest(sample, last)[0]) if last <= sample.size else np.int32(0)
    high = np.int32(_kth_largest(sample, first)[0]) if first > 0 else _MAGNITUDE
    return low, high


@kernel()
def _offer(best: np.ndarray, value: int) -> None:
    """Put `value`, which is larger than the last of the descending `best`, into its place."""
    slot = best.size - 1
    while slot > 0 and value > best[slot - 1]:
        best[slot] = best[slot - 1]
        slot -= 1
    best[slot] = value


@kernel()
def _best_of_row(row: np.ndarray, best: np.ndarray) -> None:
    """The largest magnitudes of `row`, descending."""
    best[:] = -1
    last = best.size - 1
    whole = row.size // _CHUNK * _CHUNK
    for first in range(0, whole, _CHUNK):
        chunk, bar, larger = row[first : first + _CHUNK], best[last], np.int32(0)
        for j in range(_CHUNK):
            larger += np.int32((chunk[j] & _MAGNITUDE) > bar)
        if larger:
            for j in range(_CHUNK):
                if (chunk[j] & _MAGNITUDE) > best[last]:
                    _offer(best, chunk[j] & _MAGNITUDE)
    for j in range(whole, row.size):
        if (row[j] & _MAGNITUDE) > best[last]:
            _offer(best, row[j] & _MAGNITUDE)


@kernel()
def _sink(line: np.ndarray, sinking: np.ndarray) -> None:
    """Entry by entry: the larger stays in `line`, the smaller sinks on."""
    for j in range(line.size):
        larger = max(line[j], sinking[j])
        sinking[j] = min(line[j], sinking[j])
        line[j] = larger


@kernel()
def _best_of_columns_block(bits: np.ndarray, wanted: np.ndarray, ranked: np.ndarray) -> None:
    """ranked[i, c]: the i-th largest magnitude of column c; only chunks with a `wanted` column are filled."""
    n_rows, n_columns = bits.shape
    last, sinking = len(ranked) - 1, np.empty(_CHUNK, np.int32)
    chunks = np.array([c for c in range(0, n_columns, _CHUNK) if wanted[c : c + _CHUNK].any()])
    for r in range(n_rows):
        for first in chunks:
            size = min(_CHUNK, n_columns - first)
            row, bar, larger = bits[r, first : first + size], ranked[last, first : first + size], np.int32(0)
            for j in range(size):
                larger |= np.int32((row[j] & _MAGNITUDE) > bar[j])
            if larger:
                for j in range(size):
                    sinking[j] = row[j] & _MAGNITUDE
                for slot in range(last + 1):
                    _sink(ranked[slot, first : first + size], sinking[:size])


@kernel(parallel=True)
def _best_of_columns_blocks(bits: np.ndarray, wanted: np.ndarray, ranked: np.ndarray, n_blocks: int) -> None:
    n_columns = bits.shape[1]
    for block in prange(n_blocks):
        first, last = n_columns * block // n_blocks, n_columns * (block + 1) // n_blocks
        _best_of_columns_block(bits[:, first:last], wanted[first:last], ranked[:, first:last])


@kernel()
def _note(row: np.ndarray, low: int, high: int, first: int, places: np.ndarray, n: int) -> int:
    """Fill `places` on from `n` with first + j for every |row[j]| in [low, high]; how many it then holds."""
    span = np.uint32(high - low)
    whole = row.size // _CHUNK * _CHUNK
    for start in range(0, whole, _CHUNK):
        chunk, inside = row[start : start + _CHUNK], np.int32(0)
        for j in range(_CHUNK):
            inside |= np.int32(np.uint32((chunk[j] & _MAGNITUDE) - low) <= span)
        if inside:
            for j in range(_CHUNK):
                places[n] = first + start + j
                n += np.int64(np.uint32((chunk[j] & _MAGNITUDE) - low) <= span)
    for j in range(whole, row.size):
        places[n] = first + j
        n += np.int64(np.uint32((row[j] & _MAGNITUDE) - low) <= span)
    return n


@kernel()
def _count_above(row: np.ndarray, bar: int) -> int:
    count = np.int32(0)
    for j in range(row.size):
        count += np.int32((row[j] & _MAGNITUDE) > bar)
    return count


@kernel()
def _scan_block(
    bits: np.ndarray,
    low: int,
    high: int,
    mode: int,
    first: int,
    best: np.ndarray,
    above: np.ndarray,
    places: np.ndarray,
) -> int:
    """Number of places noted in a block of rows that starts at row `first`. `above` counts by line."""
    n, n_columns = 0, bits.shape[1]
    for r in range(len(bits)):
        row = bits[r]
        n = _note(row, low, high, (first + r) * n_columns, places, n)
        if mode == _COLUMNS:
            for c in range(n_columns):
                above[c] += np.int32((row[c] & _MAGNITUDE) > high)
        else:
            above[r] = _count_above(row, high)
            if mode == _ROWS and above[r] < best.shape[1]:
                _best_of_row(row, best[r])
    return n


@kernel(parallel=True)
def _scan_blocks(
    bits: np.ndarray,
    low: int,
    high: int,
    mode: int,
    best: np.ndarray,
    above: np.ndarray,
    places: np.ndarray,
    n_noted: np.ndarray,
) -> None:
    n_rows, n_columns, n_blocks = bits.shape[0], bits.shape[1], n_noted.size
    for block in prange(n_blocks):
        first, last = n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks
        n_noted[block] = _scan_block(
            bits[first:last],
            low,
            high,
            mode,
            first,
            best[first:last] if mode == _ROWS else best,
            above[block] if mode == _COLUMNS else above[0, first:last],
            places[first * n_columns : last * n_columns],
        )


@kernel()
def _scan(
    bits: np.ndarray, low: int, high: int, mode: int, best: np.ndarray, places: np.ndarray, n_blocks: int
) -> tuple[np.ndarray, np.ndarray]:
    """(entries above `high` by line, places noted by block). Lines with fewer than they keep get their `best`."""
    n_rows, n_columns = bits.shape
    n_noted = np.zeros(n_blocks, np.int64)
    above = np.zeros((n_blocks if mode == _COLUMNS else 1, n_columns if mode == _COLUMNS else n_rows), np.int32)
    if n_blocks == 1:
        n_noted[0] = _scan_block(bits, low, high, mode, 0, best, above[0], places)
    else:
        _scan_blocks(bits, low, high, mode, best, above, places, n_noted)
    by_line = above.sum(axis=0)
    if mode == _COLUMNS:
        wanted = by_line < best.shape[1]
        if wanted.any():
            ranked = np.full((best.shape[1], n_columns), np.int32(-1))
            if n_blocks == 1:
                _best_of_columns_block(bits, wanted, ranked)
            else:
                _best_of_columns_blocks(bits, wanted, ranked, n_blocks)
            best[:] = ranked.T
    return by_line, n_noted


@kernel()
def _unprotected(
    flat: np.ndarray, n_columns: int, mode: int, own: np.ndarray, ties: np.ndarray, places: np.ndarray,
    n_noted: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Magnitudes at the noted places that no line keeps for itself, in the order of index."""
    found, n, left = np.empty(n_noted.sum(), np.int32), 0, ties.copy()
    n_blocks, n_rows = n_noted.size, flat.size // n_columns
    for block in range(n_blocks):
        first = n_rows * block // n_blocks * n_columns
        for place in places[first : first + n_noted[block]]:
            value = flat[place] & _MAGNITUDE
            if mode != _NONE:
                line = place // n_columns if mode == _ROWS else place % n_columns
                if value > own[line]:
                    continue
                if value == own[line] and left[line] > 0:
                    left[line] -= 1
                    continue
            found[n] = value
            n += 1
    return found[:n]


@kernel()
def _drop_block(bits: np.ndarray, mode: int, bars: np.ndarray) -> int:
    """Zero the entries up to the bars of their lines; how many stay."""
    kept = 0
    for r in range(len(bits)):
        row, stay = bits[r], np.int32(0)
        if mode == _COLUMNS:
            for c in range(row.size):
                keep = np.int32((row[c] & _MAGNITUDE) > bars[c])
                row[c] &= -keep
                stay += keep
        else:
            bar = bars[r]
            for c in range(row.size):
                keep = np.int32((row[c] & _MAGNITUDE) > bar)
                row[c] &= -keep
                stay += keep
        kept += stay
    return kept


@kernel(parallel=True)
def _drop_blocks(bits: np.ndarray, mode: int, bars: np.ndarray, n_blocks: int) -> int:
    kept = 0
    for block in prange(n_blocks):
        first, last = len(bits) * block // n_blocks, len(bits) * (block + 1) // n_blocks
        kept += _drop_block(bits[first:last], mode, bars if mode == _COLUMNS else bars[first:last])
    return kept


@kernel()
def _drop_ties(
    bits: np.ndarray, mode: int, bars: np.ndarray, own: np.ndarray, ties: np.ndarray, bar: int, n_more: int
) -> None:
    """Zero those that are equal to the smallest kept entry and came too late: first in their line, then in all."""
    left = ties.copy()
    for r in range(bits.shape[0]):
        for c in range(bits.shape[1]):
            line = c if mode == _COLUMNS else r
            value = (bits[r, c] & _MAGNITUDE) - np.int32(1)
            if value != bars[line]:
                continue
            if value + 1 == own[line] and left[line] > 0:
                left[line] -= 1
            elif value == bar and n_more > 0:
                n_more -= 1
            else:
                bits[r, c] = np.int32(0)


@kernel()
def _own_largest(by_line: np.ndarray, best: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(smallest magnitude that a line keeps for itself, how many of that size), by line.

    Lines with enough entries above the bracket get the largest of all magnitudes, and 0.
    """
    n_keep = best.shape[1]
    own, ties = np.full(by_line.size, _MAGNITUDE), np.zeros(by_line.size, np.int32)
    for line in range(by_line.size):
        if by_line[line] < n_keep:
            own[line] = best[line, n_keep - 1]
            ties[line] = (best[line] == own[line]).sum()
    return own, ties


@kernel()
def _project(weight: np.ndarray, k: int, mode: int, n_keep: int, n_blocks: int) -> None:
    """Keep max(k, n_keep a line) entries, where k < weight.size; those up to `bar` go unless their line keeps them."""
    bits = weight.view(np.int32)
    flat, n_columns = bits.reshape(-1), bits.shape[1]
    n_lines = n_columns if mode == _COLUMNS else len(bits)
    n_free = k - n_lines * n_keep
    bracket = _bracket(flat, n_free, n_lines * n_keep) if n_free > 0 else (_MAGNITUDE, _MAGNITUDE)
    best, places = np.empty((n_lines, n_keep), np.int32), np.empty(flat.size, np.uint32)
    bar, n_more = _MAGNITUDE, 0
    for low, high in (bracket, (np.int32(0), _MAGNITUDE)):
        by_line, n_noted = _scan(bits, low, high, mode, best, places, n_blocks)
        own, ties = _own_largest(by_line, best)
        if n_free <= 0:
            break
        candidates = _unprotected(flat, n_columns, mode, own, ties, places, n_noted)
        n_more = n_free - np.maximum(by_line - n_keep, 0).sum()
        if 0 < n_more <= candidates.size:
            threshold = _kth_largest(candidates, n_more)[0]
            bar = np.int32(threshold - 1)
            n_more -= (candidates > threshold).sum()
            break
    bars = np.minimum(own - np.int32(1), bar).astype(np.int32)
    kept = _drop_block(bits, mode, bars) if n_blocks == 1 else _drop_blocks(bits, mode, bars, n_blocks)
    if kept > max(k, n_lines * n_keep):
        _drop_ties(bits, mode, bars, own, ties, bar, n_more)


def project_topk_(weight: Tensor, k: int, protect: Protect, min_per_line: int) -> None:
    """Keep `k` entries of contiguous float32 `weight`; see `thinwire.sparsity.projection`."""
    mode = {None: _NONE, "rows": _ROWS, "columns": _COLUMNS}[protect if min_per_line else None]
    n_keep = min(min_per_line, weight.shape[1 if mode == _ROWS else 0]) if mode else 0
    matrix = weight.detach().view(-1, weight.shape[-1])
    n_blocks = count_blocks() if weight.numel() > _ALONE else 1
    _project(matrix.numpy(), k, mode, n_keep, n_blocks)
