"""CPU kernels (numba): a step of training on the stored entries of a matrix alone.

Blocks of tokens are turned feature-major as in `products`; the gradient of one entry is then a dot product of two
rows of tokens. Tokens are shared out among a fixed number of lanes whose sums are added in order, so any number of
threads gives the same bytes.
"""

# The compiled functions are untyped for pyright: numba types them at the first call.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

import numpy as np
from numba import prange

from thinwire.kernels.blocks import count_blocks
from thinwire.kernels.compiled import kernel
from thinwire.kernels.products import add_four, add_nonzeros, tokens_per_block
from thinwire.kernels.turning import PAD, TILE, turn, turn_back

_LANES = 16
_MAX_AGE = 1024  # 0.95^1024 is 0 beside 1 in float32: older moments need no correction


@kernel(fastmath={"contract", "reassoc"})
def _dot(a: np.ndarray, x: np.ndarray) -> float:
    total = np.float32(0)
    for t in range(a.size):
        total += a[t] * x[t]
    return total


@kernel(fastmath={"contract", "reassoc"})
def _four_dots(a: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
    s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for t in range(a.size):
        s0 += a[t] * x[t]
        s1 += a[t] * y[t]
        s2 += a[t] * z[t]
        s3 += a[t] * w[t]
    out[0] += s0
    out[1] += s1
    out[2] += s2
    out[3] += s3


@kernel()
def _add_dots(out: np.ndarray, row: np.ndarray, columns: np.ndarray, x: np.ndarray) -> None:
    """out[n] += row . x[columns[n]] for every n."""
    n_tokens = row.size
    fours = columns.size // 4 * 4
    for n in range(0, fours, 4):
        _four_dots(
            row,
            x[columns[n], :n_tokens],
            x[columns[n + 1], :n_tokens],
            x[columns[n + 2], :n_tokens],
            x[columns[n + 3], :n_tokens],
            out[n : n + 4],
        )
    for n in range(fours, columns.size):
        out[n] += _dot(row, x[columns[n], :n_tokens])


@kernel(fastmath={"contract", "reassoc"})
def _sum(row: np.ndarray) -> float:
    total = np.float32(0)
    for t in range(row.size):
        total += row[t]
    return total


@kernel()
def _mix(out: np.ndarray, weights: np.ndarray, x: np.ndarray) -> None:
    """out[t] = sum over i of weights[i] x[i, t]."""
    n_tokens = out.size
    out[:] = 0
    fours = weights.size // 4 * 4
    for i in range(0, fours, 4):
        add_four(
            out,
            weights[i],
            x[i, :n_tokens],
            weights[i + 1],
            x[i + 1, :n_tokens],
            weights[i + 2],
            x[i + 2, :n_tokens],
            weights[i + 3],
            x[i + 3, :n_tokens],
        )
    for i in range(fours, weights.size):
        for t in range(n_tokens):
            out[t] += weights[i] * x[i, t]


@kernel(parallel=True)
def _backward(
    x: np.ndarray,
    dy: np.ndarray,
    starts: np.ndarray,
    columns: np.ndarray,
    column_starts: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
    probes: np.ndarray,
    dx: np.ndarray,
    sums: np.ndarray,
    bias_sums: np.ndarray,
    probe_sums: np.ndarray,
    block_tokens: int,
    n_blocks: int,
) -> None:
    n_tokens, n_in = x.shape
    n_out = dy.shape[1]
    n_lanes, n_probes = sums.shape[0], probes.shape[0]
    n_turns = (n_tokens + block_tokens - 1) // block_tokens
    for block in prange(n_blocks):
        turned = np.empty((n_out, block_tokens + PAD), np.float32)
        inputs = np.empty((n_in, block_tokens + PAD), np.float32)
        totals = np.empty((TILE, block_tokens + PAD), np.float32)
        mixed = np.empty((n_probes, block_tokens), np.float32)
        for lane in range(n_lanes * block // n_blocks, n_lanes * (block + 1) // n_blocks):
            for step in range(n_turns * lane // n_lanes, n_turns * (lane + 1) // n_lanes):
                t0, t1 = step * block_tokens, min((step + 1) * block_tokens, n_tokens)
                n = t1 - t0
                turn(dy[t0:t1], turned)
                for first in range(0, n_in, TILE):
                    last = min(first + TILE, n_in)
                    for c in range(first, last):
                        total = totals[c - first, :n]
                        total[:] = 0
                        a, b = column_starts[c], column_starts[c + 1]
                        add_nonzeros(total, rows[a:b], values[a:b], turned)
                    turn_back(totals, dx[t0:t1, first:last])
                turn(x[t0:t1], inputs)
                for p in range(n_probes):
                    _mix(mixed[p, :n], probes[p], inputs)
                for r in range(n_out):
                    row = turned[r, :n]
                    bias_sums[lane, r] += _sum(row)
                    a, b = starts[r], starts[r + 1]
                    _add_dots(sums[lane, a:b], row, columns[a:b], inputs)
                    for p in range(n_probes):
                        probe_sums[lane, r, p] += _dot(row, mixed[p, :n])


def backward(
    x: np.ndarray,
    dy: np.ndarray,
    starts: np.ndarray,
    columns: np.ndarray,
    column_starts: np.ndarray,
    rows: np.ndarray,
    column_values: np.ndarray,
    probes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(input gradient, gradient of the entries, bias gradient, dY^T X probes^T) of `y = x @ W.T + b`.

    `x` (tokens, n_in), `dy` (tokens, n_out), `probes` (p, n_in); W row by row in `starts`, `columns` and column by
    column in `column_starts`, `rows`, `column_values`.
    """
    block_tokens = tokens_per_block(max(x.shape[1], dy.shape[1]))
    n_lanes = min(_LANES, -(-len(x) // block_tokens))
    dx = np.empty_like(x)
    sums = np.zeros((n_lanes, columns.size), np.float32)
    bias_sums = np.zeros((n_lanes, dy.shape[1]), np.float32)
    probe_sums = np.zeros((n_lanes, dy.shape[1], len(probes)), np.float32)
    structure = (starts, columns, column_starts, rows, column_values)
    _backward(x, dy, *structure, probes, dx, sums, bias_sums, probe_sums, block_tokens, count_blocks())
    return dx, sums.sum(0), bias_sums.sum(0), probe_sums.sum(0)


@kernel(parallel=True)
def _adam(
    values: np.ndarray,
    gradient: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    age: np.ndarray,
    scale: float,
    rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    corrections: np.ndarray,
    n_blocks: int,
) -> None:
    one = np.float32(1)
    for block in prange(n_blocks):
        for i in range(values.size * block // n_blocks, values.size * (block + 1) // n_blocks):
            age[i] = min(age[i] + 1, corrections.shape[1] - 1)
            g = gradient[i] * scale
            m[i] += (g - m[i]) * (one - beta1)
            v[i] = v[i] * beta2 + g * g * (one - beta2)
            mean = m[i] * corrections[0, age[i]]
            values[i] -= rate * mean / (np.sqrt(v[i] * corrections[1, age[i]]) + eps)


def adam_(
    values: np.ndarray,
    gradient: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    age: np.ndarray,
    scale: float,
    rate: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Adam in place on flat float32 arrays; an entry's moments are corrected by its own number of steps, `age`."""
    ages = np.arange(1, _MAX_AGE + 1)
    corrections = np.ones((2, _MAX_AGE + 1), np.float32)
    corrections[:, 1:] = [1 / (1 - beta**ages) for beta in betas]
    constants = (np.float32(number) for number in (scale, rate, *betas, eps))
    _adam(values, gradient, m, v, age, *constants, corrections, count_blocks())


@kernel()
def _line_floor(magnitudes: np.ndarray, line_starts: np.ndarray, order: np.ndarray, n_keep: int) -> tuple:
    """(`n_keep`-th largest magnitude of every line, whether each entry is among its line's `n_keep` largest).

    Line l holds entries order[line_starts[l]:line_starts[l + 1]], in ascending order; lower index wins ties.
    """
    n_lines = line_starts.size - 1
    floors = np.zeros(n_lines, np.float32)
    protected = np.zeros(magnitudes.size, np.bool_)
    best = np.empty(n_keep, np.int64)
    for line in range(n_lines):
        n = 0
        for place in range(line_starts[line], line_starts[line + 1]):
            entry = order[place]
            if n == n_keep and not magnitudes[entry] > magnitudes[best[n - 1]]:
                continue
            slot = n if n < n_keep else n - 1
            while slot > 0 and magnitudes[entry] > magnitudes[best[slot - 1]]:
                best[slot] = best[slot - 1]
                slot -= 1
            best[slot] = entry
            n = min(n + 1, n_keep)
        for slot in range(n):
            protected[best[slot]] = True
        if n == n_keep:
            floors[line] = magnitudes[best[n - 1]]
    return floors, protected


def line_floors(
    magnitudes: np.ndarray, line_starts: np.ndarray, order: np.ndarray, n_keep: int
) -> tuple[np.ndarray, np.ndarray]:
    """(`n_keep`-th largest magnitude of every line, 0 where there are fewer; mask of the protected entries)."""
    return _line_floor(magnitudes, line_starts, order, n_keep)


@kernel()
def _structure(flat: np.ndarray, n_rows: int, n_columns: int) -> tuple:
    starts, column_starts = np.zeros(n_rows + 1, np.int64), np.zeros(n_columns + 1, np.int64)
    columns, rows = np.empty(flat.size, np.uint32), np.empty(flat.size, np.uint32)
    order = np.empty(flat.size, np.int64)
    for n in range(flat.size):
        columns[n] = flat[n] % n_columns
        starts[flat[n] // n_columns + 1] += 1
        column_starts[columns[n] + 1] += 1
    starts, column_starts = np.cumsum(starts), np.cumsum(column_starts)
    place = column_starts.copy()
    for r in range(n_rows):
        for n in range(starts[r], starts[r + 1]):
            c = columns[n]
            rows[place[c]], order[place[c]] = r, n
            place[c] += 1
    return starts, columns, column_starts, rows, order


def structure(flat: np.ndarray, n_rows: int, n_columns: int) -> tuple[np.ndarray, ...]:
    """(starts, columns, column_starts, rows, order) of ascending positions; see `thinwire.sparsity.support.Support`."""
    return _structure(flat, n_rows, n_columns)
