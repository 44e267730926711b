"""CPU kernels (numba): a forward pass over few tokens with weights that are held by their nonzeros.

Activations are float32 rows, one per token. A product walks the nonzero entries of a row and, for each, the nonzero
weights of its column, so that work follows what AbsTopK and the weights leave. No row looks at another, but for the
earlier keys and values of its own sequence: a row's bytes depend neither on the number of threads nor on the company
it is computed in. A zero skips what it would have been multiplied with, even an infinity.
"""

# The compiled functions are untyped for pyright: numba types them at the first call.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

import math
from typing import NamedTuple

import numba
import numpy as np
from numba import prange

from thinwire.kernels.activation import gelu_row
from thinwire.kernels.blocks import count_blocks
from thinwire.kernels.compiled import kernel
from thinwire.kernels.cpu import MAGNITUDE, find_threshold, first_guess
from thinwire.kernels.cross_entropy import exp_

_FEW_ROWS = 16
"""Rows for which a second thread does not pay: a kernel of one token takes less time than waking one."""
FUNCTIONS = ("none", "gelu", "gelu_tanh", "relu")
"""What `apply` can put between product and AbsTopK; their numbers are what the kernel knows."""
_NONE, _GELU, _GELU_TANH, _RELU = range(len(FUNCTIONS))


class Lines(NamedTuple):
    """A matrix line by line: line i holds `values[starts[i]:starts[i + 1]]` at `places` of the other side.

    A matrix without `places` is dense, its lines one after the other. Lines are columns where it multiplies rows, and
    rows where they are looked up.
    """

    starts: np.ndarray
    places: np.ndarray
    values: np.ndarray


class Site(NamedTuple):
    """What happens at a node site: AbsTopK, then stand-ins where a node is not open."""

    n_kept: int
    """The width where AbsTopK does not act."""
    is_open: np.ndarray
    """Empty where all nodes are."""
    stand_in: np.ndarray


class Norm(NamedTuple):
    """RMSNorm, or LayerNorm if it has a shift."""

    gain: np.ndarray
    shift: np.ndarray
    """Empty for RMSNorm."""
    eps: np.float32


@kernel()
def _at_site(
    row: np.ndarray, n_kept: int, is_open: np.ndarray, stand_in: np.ndarray, bits: np.ndarray, guess: np.ndarray
) -> None:
    if n_kept < row.size:
        raw = row.view(np.int32)
        for j in range(row.size):
            bits[j] = raw[j] & MAGNITUDE
        threshold = find_threshold(bits, n_kept, guess)
        for j in range(row.size):
            raw[j] &= -np.int32(bits[j] >= threshold)
    if is_open.size:
        for j in range(row.size):
            row[j] = row[j] if is_open[j] else stand_in[j]


@kernel()
def _apply(row: np.ndarray, function: int, values: np.ndarray, slopes: np.ndarray) -> None:
    if function == _GELU:
        gelu_row(row, values, slopes)
        row[:] = values
    elif function == _GELU_TANH:
        for j in range(row.size):
            x = row[j]
            inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)
            row[j] = np.float32(0.5) * x * (np.float32(1) + np.tanh(inner))
    elif function == _RELU:
        for j in range(row.size):
            row[j] = row[j] if not row[j] < 0 else np.float32(0)


@kernel(fastmath={"contract"})
def _add_dense(row: np.ndarray, factor: float, line: np.ndarray) -> None:
    for j in range(row.size):
        row[j] += factor * line[j]


@kernel(fastmath={"contract"})
def _add_line(
    row: np.ndarray, factor: float, i: int, starts: np.ndarray, places: np.ndarray, values: np.ndarray
) -> None:
    if places.size != values.size:
        _add_dense(row, factor, values[starts[i] : starts[i + 1]])
        return
    for n in range(starts[i], starts[i + 1]):
        row[places[n]] += factor * values[n]


@kernel(parallel=True)
def _multiply_rows(x, starts, places, values, bias, function, n_kept, is_open, stand_in, y, n_blocks):
    n_rows, n_out = y.shape
    for block in prange(n_blocks):
        bits, guess = np.empty(n_out, np.int32), first_guess(n_out)
        room = n_out if function == _GELU else 0
        activated, slopes = np.empty(room, np.float32), np.empty(room, np.float32)
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            row = y[r]
            row[:] = bias
            for i in range(starts.size - 1):
                if x[r, i] != 0:
                    _add_line(row, x[r, i], i, starts, places, values)
            _apply(row, function, activated, slopes)
            _at_site(row, n_kept, is_open, stand_in, bits, guess)


@kernel(parallel=True)
def _add_lines(wanted, starts, places, values, y, n_blocks):
    n_rows = y.shape[0]
    for block in prange(n_blocks):
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            _add_line(y[r], np.float32(1), wanted[r], starts, places, values)


@kernel(fastmath={"contract", "reassoc"})
def _squares(row: np.ndarray, centre: float) -> float:
    total = np.float32(0)
    for j in range(row.size):
        total += (row[j] - centre) * (row[j] - centre)
    return total


@kernel(fastmath={"contract", "reassoc"})
def _sum(row: np.ndarray) -> float:
    total = np.float32(0)
    for j in range(row.size):
        total += row[j]
    return total


@kernel(parallel=True)
def _read_rows(x, beside, gain, shift, eps, scales, is_frozen, n_kept, is_open, stand_in, y, n_blocks):
    n_rows, width = x.shape
    for block in prange(n_blocks):
        bits, guess = np.empty(y.shape[1], np.int32), first_guess(y.shape[1])
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            row, out = x[r], y[r]
            centre = _sum(row) / np.float32(width) if shift.size else np.float32(0)
            if not is_frozen:
                scales[r] = np.float32(1) / np.sqrt(_squares(row, centre) / np.float32(width) + eps)
            for c in range(width):
                out[c] = (row[c] - centre) * scales[r] * gain[c]
            if shift.size:
                for c in range(width):
                    out[c] += shift[c]
            for c in range(width, out.size):
                out[c] = beside[r, c - width]
            _at_site(out, n_kept, is_open, stand_in, bits, guess)


@kernel(parallel=True)
def _step_rows(x, added, bends, n_kept, is_open, stand_in, n_blocks):
    n_rows, width = x.shape
    for block in prange(n_blocks):
        bits, guess = np.empty(width, np.int32), first_guess(width)
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            row = x[r]
            if added.size:
                row += added[r]
            if bends:
                _apply(row, _RELU, row, row)
            _at_site(row, n_kept, is_open, stand_in, bits, guess)


@kernel(fastmath={"contract"})
def _score(query: np.ndarray, key: np.ndarray, d_head: int, factor: float, scores: np.ndarray) -> None:
    """scores[h] = factor x query . key in every head: eight sums side by side, which become one vector register."""
    eights = d_head // 8 * 8
    for h in range(scores.size):
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float32(0)
        for c in range(h * d_head, h * d_head + eights, 8):
            s0 += query[c] * key[c]
            s1 += query[c + 1] * key[c + 1]
            s2 += query[c + 2] * key[c + 2]
            s3 += query[c + 3] * key[c + 3]
            s4 += query[c + 4] * key[c + 4]
            s5 += query[c + 5] * key[c + 5]
            s6 += query[c + 6] * key[c + 6]
            s7 += query[c + 7] * key[c + 7]
        for c in range(h * d_head + eights, (h + 1) * d_head):
            s0 += query[c] * key[c]
        scores[h] = (((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))) * factor


@kernel(fastmath={"contract"})
def _mix(shares: np.ndarray, value: np.ndarray, d_head: int, out: np.ndarray) -> None:
    """out += shares[h] x value in every head, eight channels at a time."""
    eights = d_head // 8 * 8
    for h in range(shares.size):
        share = shares[h]
        for c in range(h * d_head, h * d_head + eights, 8):
            o0 = out[c] + share * value[c]
            o1 = out[c + 1] + share * value[c + 1]
            o2 = out[c + 2] + share * value[c + 2]
            o3 = out[c + 3] + share * value[c + 3]
            o4 = out[c + 4] + share * value[c + 4]
            o5 = out[c + 5] + share * value[c + 5]
            o6 = out[c + 6] + share * value[c + 6]
            o7 = out[c + 7] + share * value[c + 7]
            out[c], out[c + 1], out[c + 2], out[c + 3] = o0, o1, o2, o3
            out[c + 4], out[c + 5], out[c + 6], out[c + 7] = o4, o5, o6, o7
        for c in range(h * d_head + eights, (h + 1) * d_head):
            out[c] += share * value[c]


@kernel(parallel=True)
def _attend_rows(q, keys, values, first, last, sinks, n_head, out, n_blocks):
    (n_rows, width), d_head = q.shape, q.shape[1] // n_head
    factor, longest = np.float32(1 / math.sqrt(d_head)), np.int64(0)
    for r in range(n_rows):
        longest = max(longest, last[r] + 1 - first[r])
    for block in prange(n_blocks):
        # One row of scores for each key, and one for the sink.
        scores, powers = np.empty((longest + 1, n_head), np.float32), np.empty((longest + 1) * n_head, np.int32)
        most, totals = np.empty(n_head, np.float32), np.empty(n_head, np.float32)
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            n_keys = last[r] + 1 - first[r]
            n_scores = n_keys + np.int64(sinks.size > 0)
            for j in range(n_keys):
                _score(q[r], keys[first[r] + j], d_head, factor, scores[j])
            if sinks.size:
                scores[n_keys] = sinks
            most[:] = scores[0]
            for j in range(1, n_scores):
                for h in range(n_head):
                    most[h] = max(most[h], scores[j, h])
            for j in range(n_scores):
                for h in range(n_head):
                    scores[j, h] -= most[h]
            exp_(scores[:n_scores].ravel(), powers[: n_scores * n_head])
            totals[:] = 0
            for j in range(n_scores):
                for h in range(n_head):
                    totals[h] += scores[j, h]
            out[r, :] = 0
            gains = out[r, width:]
            for j in range(n_keys):
                for h in range(n_head):
                    scores[j, h] /= totals[h]
                    gains[h] += scores[j, h]
                _mix(scores[j], values[first[r] + j], d_head, out[r])


def _blocks_for(n_rows: int) -> int:
    blocks = min(count_blocks(), 1 + n_rows // _FEW_ROWS)
    numba.set_num_threads(blocks)
    return blocks


def multiply(x: np.ndarray, matrix: Lines, bias: np.ndarray, site: Site, function: int = 0) -> np.ndarray:
    """`function(x @ W.T + bias)` as it leaves `site`, W given by its columns; what x has beyond them is not looked at.

    x (rows, at least n columns) gives (rows, outputs). `function` is a place in `FUNCTIONS`.
    """
    y = np.empty((len(x), bias.size), np.float32)
    _multiply_rows(x, *matrix, bias, function, *site, y, _blocks_for(len(x)))
    return y


def add_lines(wanted: np.ndarray, table: Lines, y: np.ndarray) -> None:
    """Add line `wanted[r]` of a table that is given by its rows to row r of `y`."""
    _add_lines(wanted, *table, y, _blocks_for(len(y)))


def read(
    x: np.ndarray, beside: np.ndarray, norm: Norm, site: Site, scales: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(the normed rows with `beside` behind them, as they leave `site`; the norm's scales, `scales` where given)."""
    y = np.empty((len(x), x.shape[1] + beside.shape[1]), np.float32)
    used = np.empty(len(x), np.float32) if scales is None else scales
    _read_rows(x, beside, *norm, used, scales is not None, *site, y, _blocks_for(len(x)))
    return y, used


def step(x: np.ndarray, added: np.ndarray, bends: bool, site: Site) -> None:
    """The residual stream `x`, in place: with `added`, where there is some, bent by a relu, as it leaves `site`."""
    _step_rows(x, added, bends, *site, _blocks_for(len(x)))


def attend(
    q: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    sinks: np.ndarray,
    n_head: int,
) -> np.ndarray:
    """(rows, width + heads): values mixed over places `first[r]` to `last[r]`, behind them what shares add up to.

    `keys` and `values` (places, width); without `sinks` the shares of a head add up to 1.
    """
    out = np.empty((len(q), q.shape[1] + n_head), np.float32)
    _attend_rows(q, keys, values, first, last, sinks, n_head, out, _blocks_for(len(q)))
    return out
