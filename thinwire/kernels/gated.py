"""CPU kernels (numba) of a frozen model whose nodes are gated: the inner loops of pruning.

Activations are float32 rows, one per distinct prefix of the prompts. Work follows what is there: a product walks the
open sources with a nonzero value and their nonzero weights. Every output element is written by one thread, every sum
has a fixed order, and no row looks at another: a row's bytes depend neither on the number of threads nor on the
company it is computed in. Sums over rows are taken over `N_PARTS` fixed parts.
"""

# The compiled functions are untyped for pyright: numba types them at the first call.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

import math

import numba
import numpy as np
from numba import njit, prange

from thinwire.kernels.blocks import start_threads
from thinwire.kernels.compiled import kernel
from thinwire.kernels.cpu import _kth_largest

N_PARTS = 16
"""Parts of the rows whose sums are added up in order; a constant, so that results do not know the thread count."""
FEW = 8
"""Open channels up to which ranking each costs less than finding the threshold of the whole row."""
_MAGNITUDE = np.int32(0x7FFFFFFF)


def _count_blocks() -> int:
    """One: a pruning step is hundreds of kernels of a fraction of a millisecond, and on a busy machine each of them
    would wait for its slowest thread. Cores are shared by tasks instead (`prune --workers`).
    """
    start_threads()
    numba.set_num_threads(1)
    return 1


@kernel(parallel=True)
def _select(x, bits_of_x, k, is_open, mean, out, kept, n_blocks):
    n_rows, width = x.shape
    for block in prange(n_blocks):
        bits = np.empty(width, np.int32)
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            for j in range(width):
                bits[j] = bits_of_x[r, j] & _MAGNITUDE
            threshold, exact = _kth_largest(bits, k)
            if exact:
                for j in range(width):
                    kept[r, j] = bits[j] >= threshold
            else:
                ties = np.int32(k)
                for j in range(width):
                    ties -= np.int32(bits[j] > threshold)
                for j in range(width):
                    keep = bits[j] > threshold
                    if bits[j] == threshold and ties > 0:
                        keep = True
                        ties -= 1
                    kept[r, j] = keep
            for j in range(width):
                value = x[r, j] if kept[r, j] else np.float32(0)
                out[r, j] = value if is_open[j] else mean[j]


@kernel(parallel=True)
def _select_few(x, bits_of_x, k, chosen, mean, out, n_blocks):
    """`_select` for a few open channels: each is kept if fewer than k entries go before it."""
    n_rows, width = x.shape
    for block in prange(n_blocks):
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            out[r, :] = mean
            for i in range(chosen.size):
                c = chosen[i]
                own = bits_of_x[r, c] & _MAGNITUDE
                before = np.int32(0)
                for j in range(width):
                    before += np.int32((bits_of_x[r, j] & _MAGNITUDE) > own)
                for j in range(c if before < k else 0):
                    before += np.int32((bits_of_x[r, j] & _MAGNITUDE) == own)
                out[r, c] = x[r, c] if before < k else np.float32(0)


@kernel(parallel=True)
def _gate(x, is_open, mean, out, n_blocks):
    n_rows, width = x.shape
    for block in prange(n_blocks):
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            for j in range(width):
                out[r, j] = x[r, j] if is_open[j] else mean[j]


@kernel(parallel=True)
def _gate_backward(x, kept, has_kept, is_open, mean, d_out, d_x, parts):
    n_rows, width = x.shape
    for part in prange(N_PARTS):
        total = parts[part]
        for r in range(n_rows * part // N_PARTS, n_rows * (part + 1) // N_PARTS):
            for j in range(width):
                keep = kept[r, j] if has_kept else True
                total[j] += d_out[r, j] * ((x[r, j] if keep else np.float32(0)) - mean[j])
                d_x[r, j] = d_out[r, j] if keep and is_open[j] else np.float32(0)


def gate(x: np.ndarray, k: int, is_open: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """(AbsTopK of each row with shut channels at their means, mask of what AbsTopK kept or None where it keeps all)."""
    out = np.empty_like(x)
    if k >= x.shape[1]:
        _gate(x, is_open, mean, out, _count_blocks())
        return out, None
    kept = np.empty(x.shape, np.bool_)
    _select(x, x.view(np.int32), k, is_open, mean, out, kept, _count_blocks())
    return out, kept


def gate_few(x: np.ndarray, k: int, chosen: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The output of `gate` where only the `chosen` channels are open; faster for up to `FEW` of them."""
    out = np.empty_like(x)
    _select_few(x, x.view(np.int32), k, chosen, mean, out, _count_blocks())
    return out


def gate_backward(
    x: np.ndarray, kept: np.ndarray | None, is_open: np.ndarray, mean: np.ndarray, d_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of (input, gates): a shut gate passes nothing on and still hears what opening it would do."""
    d_x, parts = np.empty_like(x), np.zeros((N_PARTS, x.shape[1]), np.float32)
    _count_blocks()
    mask = np.empty((0, 0), np.bool_) if kept is None else kept
    _gate_backward(x, mask, kept is not None, is_open, mean, d_out, d_x, parts)
    return d_x, parts.sum(0)


@kernel(parallel=True)
def _product_sparse(x, used, start, index, value, constant, out, n_blocks):
    n_rows = x.shape[0]
    for block in prange(n_blocks):
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            row = out[r]
            row[:] = constant
            for i in range(used.size):
                s = used[i]
                factor = x[r, s]
                if factor != 0:
                    for p in range(start[s], start[s + 1]):
                        row[index[p]] += value[p] * factor


@kernel(parallel=True)
def _product_dense(x, used, lines, constant, out, n_blocks):
    n_rows = x.shape[0]
    for block in prange(n_blocks):
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            row = out[r]
            row[:] = constant
            for i in range(used.size):
                s = used[i]
                factor = x[r, s]
                if factor != 0:
                    line = lines[s]
                    for t in range(row.size):
                        row[t] += line[t] * factor


class Lines:
    """A constant matrix by its lines, of which a product takes the used ones: stored sparse below a density of 1/4."""

    def __init__(self, lines: np.ndarray) -> None:
        """`lines`: (sources, targets) float32; `lines[s]` is what source s contributes to every target."""
        self.width = lines.shape[1]
        self.dense = np.ascontiguousarray(lines) if np.count_nonzero(lines) * 4 >= lines.size else None
        rows, columns = np.nonzero(lines)
        self.index = columns.astype(np.int32)
        self.value = np.ascontiguousarray(lines[rows, columns], np.float32)
        self.start = np.searchsorted(rows, np.arange(len(lines) + 1)).astype(np.int64)

    def product(self, x: np.ndarray, used: np.ndarray, constant: np.ndarray) -> np.ndarray:
        """`constant` plus, for every row of `x`, the used sources' lines times their values."""
        out = np.empty((len(x), self.width), np.float32)
        if self.dense is not None:
            _product_dense(x, used, self.dense, constant, out, _count_blocks())
        else:
            _product_sparse(x, used, self.start, self.index, self.value, constant, out, _count_blocks())
        return out


@kernel(parallel=True, fastmath={"reassoc", "contract"})
def _norm(x, gain, eps, scale, out, n_blocks):
    n_rows, width = x.shape
    for block in prange(n_blocks):
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            if scale[r] == 0:
                total = np.float32(0)
                for j in range(width):
                    total += x[r, j] * x[r, j]
                scale[r] = np.float32(1) / np.sqrt(total / np.float32(width) + eps)
            for j in range(width):
                out[r, j] = x[r, j] * scale[r] * gain[j]


@kernel(parallel=True, fastmath={"reassoc", "contract"})
def _norm_backward(x, gain, scale, frozen, d_out, d_x, n_blocks):
    n_rows, width = x.shape
    for block in prange(n_blocks):
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            inner = np.float32(0)
            if not frozen:
                for j in range(width):
                    inner += d_out[r, j] * gain[j] * x[r, j]
            shrink = inner * scale[r] * scale[r] / np.float32(width)
            for j in range(width):
                d_x[r, j] = scale[r] * (d_out[r, j] * gain[j] - x[r, j] * shrink)


def norm(x: np.ndarray, gain: np.ndarray, eps: float, frozen: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(x times its scale times gain, the scale per row): 1 / rms of the row, or `frozen` where that is given."""
    out = np.empty_like(x)
    scale = np.zeros(len(x), np.float32) if frozen is None else frozen
    _norm(x, gain, np.float32(eps), scale, out, _count_blocks())
    return out, scale


def norm_backward(x: np.ndarray, gain: np.ndarray, scale: np.ndarray, frozen: bool, d_out: np.ndarray) -> np.ndarray:
    """Gradient of the input; a frozen scale does not answer to it."""
    d_x = np.empty_like(x)
    _norm_backward(x, gain, scale, frozen, d_out, d_x, _count_blocks())
    return d_x


@njit(inline="always")
def _dot(x, r, y, s, first, size):
    total = np.float32(0)
    for c in range(first, first + size):
        total += x[r, c] * y[s, c]
    return total


@njit(inline="always")
def _add(out, r, factor, x, s, first, size):
    for c in range(first, first + size):
        out[r, c] += factor * x[s, c]


@njit(inline="always")
def _attend_query(q, k, v, rows, counts, size, heads, sinks, has_sink, out, pattern, n):
    """One query's attention in all heads; the caller gives `size` as a constant, so that loops over it unroll."""
    factor = np.float32(1 / math.sqrt(size))
    for position in range(heads.size):
        h = heads[position]
        line = pattern[h, n]
        out[n, h * size : (h + 1) * size] = np.float32(0)
        largest = sinks[h] if has_sink else np.float32(-np.inf)
        for i in range(counts[n]):
            line[i] = _dot(q, n, k, rows[n, i], h * size, size) * factor
            largest = max(largest, line[i])
        total = np.float32(math.exp(sinks[h] - largest)) if has_sink else np.float32(0)
        for i in range(counts[n]):
            line[i] = np.float32(math.exp(line[i] - largest))
            total += line[i]
        for i in range(counts[n]):
            line[i] /= total
            _add(out, n, line[i], v, rows[n, i], h * size, size)


@kernel(parallel=True, fastmath={"reassoc", "contract"})
def _attend(q, k, v, rows, counts, d_head, heads, sinks, has_sink, out, pattern, n_blocks):
    for block in prange(n_blocks):
        for n in range(len(q) * block // n_blocks, len(q) * (block + 1) // n_blocks):
            if d_head == 16:
                _attend_query(q, k, v, rows, counts, 16, heads, sinks, has_sink, out, pattern, n)
            else:
                _attend_query(q, k, v, rows, counts, d_head, heads, sinks, has_sink, out, pattern, n)


@njit(inline="always")
def _attend_head_backward(q, k, v, rows, counts, size, pattern, d_out, d_q, d_k, d_v, h):
    factor = np.float32(1 / math.sqrt(size))
    first = h * size
    d_pattern = np.empty(rows.shape[1], np.float32)
    for n in range(len(q)):
        heard = False
        for c in range(first, first + size):
            heard = heard | (d_out[n, c] != 0)
        if not heard:
            continue
        line = pattern[h, n]
        inner = np.float32(0)
        for i in range(counts[n]):
            row = rows[n, i]
            d_pattern[i] = _dot(d_out, n, v, row, first, size)
            inner += line[i] * d_pattern[i]
            _add(d_v, row, line[i], d_out, n, first, size)
        for i in range(counts[n]):
            row = rows[n, i]
            d_score = line[i] * (d_pattern[i] - inner) * factor
            _add(d_q, n, d_score, k, row, first, size)
            _add(d_k, row, d_score, q, n, first, size)


@kernel(parallel=True, fastmath={"reassoc", "contract"})
def _attend_backward(q, k, v, rows, counts, d_head, pattern, d_out, d_q, d_k, d_v):
    for h in prange(q.shape[1] // d_head):
        if d_head == 16:
            _attend_head_backward(q, k, v, rows, counts, 16, pattern, d_out, d_q, d_k, d_v, h)
        else:
            _attend_head_backward(q, k, v, rows, counts, d_head, pattern, d_out, d_q, d_k, d_v, h)


def attend(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    rows: np.ndarray,
    counts: np.ndarray,
    d_head: int,
    heads: np.ndarray,
    elsewhere: np.ndarray,
    sink: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """(values mixed for each query over its `counts` key rows, pattern (head, query, key)); `sink` may be empty.

    Only `heads` are computed; the channels of the others are as in `elsewhere` (width).
    """
    out, pattern = np.empty_like(q), np.zeros((q.shape[1] // d_head, *rows.shape), np.float32)
    if len(heads) * d_head < q.shape[1]:
        out[:] = elsewhere
    _attend(q, k, v, rows, counts, d_head, heads, sink, bool(sink.size), out, pattern, _count_blocks())
    return out, pattern


def attend_backward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    rows: np.ndarray,
    counts: np.ndarray,
    d_head: int,
    pattern: np.ndarray,
    d_out: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of (q, k, v); each head is one thread's."""
    d_q, d_k, d_v = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    _count_blocks()
    _attend_backward(q, k, v, rows, counts, d_head, pattern, d_out, d_q, d_k, d_v)
    return d_q, d_k, d_v


@kernel(parallel=True)
def _add_rows(d_out, order, start, out, n_blocks):
    n_rows, width = out.shape
    for block in prange(n_blocks):
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            for i in range(start[r], start[r + 1]):
                for j in range(width):
                    out[r, j] += d_out[order[i], j]


def add_rows(d_out: np.ndarray, index: np.ndarray, n_rows: int) -> np.ndarray:
    """Row r of the result: the sum of all rows of `d_out` that `index` sends to r, in their order."""
    out = np.zeros((n_rows, d_out.shape[1]), np.float32)
    order = np.argsort(index, kind="stable")
    start = np.searchsorted(index[order], np.arange(n_rows + 1))
    _add_rows(d_out, order, start, out, _count_blocks())
    return out
