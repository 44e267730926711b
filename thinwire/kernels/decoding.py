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
def _add_product(
    row: np.ndarray, factors: np.ndarray, starts: np.ndarray, places: np.ndarray, values: np.ndarray
) -> None:
    """Add factors[i] x line i to `row`, all lines. The loops stand here because a call for each would cost more."""
    if places.size != values.size:
        for i in range(starts.size - 1):
            if factors[i] != 0:
                _add_dense(row, factors[i], values[starts[i] : starts[i + 1]])
        return
    for i in range(starts.size - 1):
        factor = factors[i]
        if factor != 0:
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
            _add_product(row, x[r], starts, places, values)
            _apply(row, function, activated, slopes)
            _at_site(row, n_kept, is_open, stand_in, bits, guess)


@kernel(parallel=True)
def _add_lines(wanted, starts, places, values, y, n_blocks):
    n_rows, one = y.shape[0], np.ones(1, np.float32)
    for block in prange(n_blocks):
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            _add_product(y[r], one, starts[wanted[r] : wanted[r] + 2], places, values)


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
def _score(query: np.ndarray, key: np.ndarray, scores: np.ndarray) -> None:
    """scores[h] = query . key in every head; both (K, H)."""
    scores[:] = 0
    for c in range(query.shape[0]):
        a, b = query[c], key[c]
        for h in range(scores.size):
            scores[h] += a[h] * b[h]


@kernel(fastmath={"contract"})
def _mix(shares: np.ndarray, value: np.ndarray, out: np.ndarray) -> None:
    """out += shares[h] x value in every head; `value` and `out` (K, H)."""
    for c in range(value.shape[0]):
        a, b = out[c], value[c]
        for h in range(shares.size):
            a[h] += shares[h] * b[h]


@kernel()
def _to_shares(scores: np.ndarray, n_keys: int, factor: float, powers: np.ndarray, gains: np.ndarray) -> None:
    """softmax over rows of factor x scores, in place; what lies behind the keys' rows, a sink's logits, is no score.

    `gains` become what the keys' shares add up to.
    """
    n_scores, n_head = scores.shape
    most, totals = np.empty(n_head, np.float32), np.zeros(n_head, np.float32)
    most[:] = np.float32(-np.inf)
    for j in range(n_scores):
        row = scores[j]
        if j < n_keys:
            row *= factor
        for h in range(n_head):
            most[h] = row[h] if row[h] > most[h] else most[h]
    for j in range(n_scores):
        row = scores[j]
        for h in range(n_head):
            row[h] -= most[h]
    exp_(scores.ravel(), powers)
    for j in range(n_scores):
        totals += scores[j]
    gains[:] = 0
    for j in range(n_keys):
        row = scores[j]
        for h in range(n_head):
            row[h] /= totals[h]
            gains[h] += row[h]


@kernel(parallel=True)
def _attend_rows(q, keys, values, first, last, sinks, out, gains, n_blocks):
    n_rows, d_head, n_head = q.shape
    factor, longest = np.float32(1 / math.sqrt(d_head)), np.int64(0)
    for r in range(n_rows):
        longest = max(longest, last[r] + 1 - first[r])
    for block in prange(n_blocks):
        scores, powers = np.empty((longest + 1, n_head), np.float32), np.empty((longest + 1) * n_head, np.int32)
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            n_keys = last[r] + 1 - first[r]
            n_scores = n_keys + np.int64(sinks.size > 0)
            for j in range(n_keys):
                _score(q[r], keys[first[r] + j], scores[j])
            if sinks.size:
                scores[n_keys] = sinks
            _to_shares(scores[:n_scores], n_keys, factor, powers[: n_scores * n_head], gains[r])
            out[r] = 0
            for j in range(n_keys):
                _mix(scores[j], values[first[r] + j], out[r])


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
    q: np.ndarray, keys: np.ndarray, values: np.ndarray, first: np.ndarray, last: np.ndarray, sinks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(values mixed over places `first[r]` to `last[r]`, what the shares of each head add up to: 1 without `sinks`).

    `q` and what comes out (rows, K, H), `keys` and `values` (places, K, H): the heads of a channel lie side by side, so
    that all of them are worked on at once.
    """
    out, gains = np.empty_like(q), np.empty((len(q), q.shape[2]), np.float32)
    _attend_rows(q, keys, values, first, last, sinks, out, gains, _blocks_for(len(q)))
    return out, gains
