"""CPU kernels (numba): products of a tall dense matrix with a weight matrix that is mostly zeros.

Activations are turned feature-major in blocks of tokens, (features, tokens), so that a nonzero weight is one
multiply-add of a row of tokens. Each output is summed by one thread in the order of the nonzeros, so any
number of threads gives the same bytes.
"""

# The compiled functions are untyped for pyright: numba types them at the first call.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

from typing import NamedTuple

import numpy as np
from numba import prange
from torch import Tensor

from thinwire.kernels.blocks import count_blocks
from thinwire.kernels.compiled import kernel
from thinwire.kernels.turning import PAD, TILE, turn, turn_back

_BLOCK_FLOATS = 1 << 18  # a block of feature-major input should fit a core's second-level cache (1 MiB)


class Rows(NamedTuple):
    """Nonzeros of a matrix, row by row: row r holds `values[starts[r]:starts[r + 1]]` in ascending `columns`."""

    starts: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    @property
    def n_nonzero(self) -> int:
        return self.values.size


@kernel()
def _compress_rows(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n_rows, n_columns = weight.shape
    starts = np.zeros(n_rows + 1, np.int64)
    for r in range(n_rows):
        count = np.int64(0)
        for c in range(n_columns):
            count += np.int64(weight[r, c] != 0)
        starts[r + 1] = starts[r] + count
    columns, values = np.empty(starts[-1] + 1, np.uint32), np.empty(starts[-1] + 1, np.float32)
    n = np.int64(0)
    for r in range(n_rows):
        for c in range(n_columns):
            columns[n], values[n] = c, weight[r, c]
            n += np.int64(weight[r, c] != 0)
    return starts, columns[:n], values[:n]


@kernel()
def _transpose_rows(
    starts: np.ndarray, columns: np.ndarray, values: np.ndarray, n_columns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    column_starts = np.zeros(n_columns + 1, np.int64)
    for c in columns:
        column_starts[c + 1] += 1
    column_starts = np.cumsum(column_starts)
    place = column_starts.copy()
    rows, moved = np.empty(values.size, np.uint32), np.empty(values.size, np.float32)
    for r in range(starts.size - 1):
        for n in range(starts[r], starts[r + 1]):
            c = columns[n]
            rows[place[c]], moved[place[c]] = r, values[n]
            place[c] += 1
    return column_starts, rows, moved


def compress(weight: Tensor) -> Rows:
    """The nonzeros of a contiguous float32 matrix, row by row."""
    return Rows(*_compress_rows(weight.detach().numpy()))


def transposed(rows: Rows, n_columns: int) -> Rows:
    """The nonzeros column by column."""
    return Rows(*_transpose_rows(*rows, n_columns))


@kernel(fastmath={"contract"})
def add_four(
    total: np.ndarray,
    a: float,
    x: np.ndarray,
    b: float,
    y: np.ndarray,
    c: float,
    z: np.ndarray,
    d: float,
    w: np.ndarray,
) -> None:
    for t in range(total.size):
        total[t] = total[t] + a * x[t] + b * y[t] + c * z[t] + d * w[t]


@kernel(fastmath={"contract"})
def _add_one(total: np.ndarray, a: float, x: np.ndarray) -> None:
    for t in range(total.size):
        total[t] += a * x[t]


@kernel()
def add_nonzeros(total: np.ndarray, columns: np.ndarray, values: np.ndarray, x: np.ndarray) -> None:
    """Add sum over n of values[n] x[columns[n]] to `total`, in the order of n."""
    n_tokens = total.size
    fours = values.size // 4 * 4
    for n in range(0, fours, 4):
        add_four(
            total,
            values[n],
            x[columns[n], :n_tokens],
            values[n + 1],
            x[columns[n + 1], :n_tokens],
            values[n + 2],
            x[columns[n + 2], :n_tokens],
            values[n + 3],
            x[columns[n + 3], :n_tokens],
        )
    for n in range(fours, values.size):
        _add_one(total, values[n], x[columns[n], :n_tokens])


@kernel(parallel=True)
def _multiply(
    x: np.ndarray,
    starts: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    bias: np.ndarray,
    y: np.ndarray,
    block_tokens: int,
    n_blocks: int,
) -> None:
    n_tokens, n_out = y.shape
    n_turns = (n_tokens + block_tokens - 1) // block_tokens
    for block in prange(n_blocks):
        turned = np.empty((x.shape[1], block_tokens + PAD), np.float32)
        totals = np.empty((TILE, block_tokens + PAD), np.float32)
        for step in range(n_turns * block // n_blocks, n_turns * (block + 1) // n_blocks):
            t0, t1 = step * block_tokens, min((step + 1) * block_tokens, n_tokens)
            turn(x[t0:t1], turned)
            for first in range(0, n_out, TILE):
                last = min(first + TILE, n_out)
                for r in range(first, last):
                    total = totals[r - first, : t1 - t0]
                    total[:] = bias[r] if bias.size else np.float32(0)
                    add_nonzeros(total, columns[starts[r] : starts[r + 1]], values[starts[r] : starts[r + 1]], turned)
                turn_back(totals, y[t0:t1, first:last])


def multiply(x: Tensor, rows: Rows, bias: Tensor | None = None) -> Tensor:
    """`x @ W.T + bias` of contiguous float32 `x` (tokens, width), W given by its rows' nonzeros."""
    y = x.new_empty(len(x), rows.starts.size - 1)
    _multiply(
        x.detach().numpy(),
        *rows,
        np.empty(0, np.float32) if bias is None else bias.detach().numpy(),
        y.numpy(),
        tokens_per_block(x.shape[1]),
        count_blocks(),
    )
    return y


def tokens_per_block(width: int) -> int:
    """Number of tokens that are turned at a time."""
    return min(512, max(256, _BLOCK_FLOATS // width))
