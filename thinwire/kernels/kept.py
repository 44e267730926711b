"""CPU kernels (numba): products of activations, most of which AbsTopK has set to zero, with dense matrices.

A product of x (tokens, width) and lines (width, out) is, for every token, a sum of the lines of its nonzero entries; a
weight gradient is, for every feature, a sum of the lines of the tokens where it is not zero. Nonzeros are listed for a
block of tokens at a time, and each sum of `SPAN` floats stays in registers. Terms are added in ascending order by one
thread, so any number of threads gives the same bytes. A zero skips what it would have been multiplied with, even an
infinity.
"""

# The compiled functions are untyped for pyright: numba types them at the first call.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

import numpy as np
from numba import prange
from torch import Tensor

from thinwire.kernels.blocks import count_blocks
from thinwire.kernels.compiled import kernel
from thinwire.kernels.contract import SPAN
from thinwire.kernels.tiles import add_lines

_TOKENS = 64  # that are listed at a time
_SUMMED_TOKENS = 128  # likewise for a weight gradient: SPAN floats of so many lines fit a core's caches


@kernel(parallel=True)
def _multiply(x: np.ndarray, lines: np.ndarray, bias: np.ndarray, y: np.ndarray, n_blocks: int) -> None:
    (n_tokens, width), n_out = x.shape, lines.shape[1]
    n_turns = (n_tokens + _TOKENS - 1) // _TOKENS
    for block in prange(n_blocks):
        places, values = np.empty(_TOKENS * width + 1, np.uint32), np.empty(_TOKENS * width + 1, np.float32)
        starts = np.empty(_TOKENS + 1, np.int64)
        for turn in range(n_turns * block // n_blocks, n_turns * (block + 1) // n_blocks):
            t0, t1 = turn * _TOKENS, min((turn + 1) * _TOKENS, n_tokens)
            n = np.int64(0)
            for t in range(t0, t1):
                starts[t - t0] = n
                y[t] = 0
                if bias.size:
                    y[t] = bias
                for i in range(width):
                    places[n], values[n] = i, x[t, i]
                    n += np.int64(x[t, i] != 0)
            starts[t1 - t0] = n
            for f in range(0, n_out, SPAN):
                for t in range(t0, t1):
                    begin, end = starts[t - t0], starts[t - t0 + 1]
                    add_lines(y, t * n_out + f, lines, n_out, f, places, values, begin, end)


def multiply(x: Tensor, lines: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ lines + bias` of float32 `x` (tokens, width) and `lines` (width, whole spans), skipping zeros of x."""
    if x.shape[1] != len(lines) or lines.shape[1] % SPAN:
        raise ValueError(f"x {tuple(x.shape)}, lines {tuple(lines.shape)}: widths must agree, outputs in whole {SPAN}s")
    y = x.new_empty(len(x), lines.shape[1])
    added = np.empty(0, np.float32) if bias is None else bias.detach().numpy()
    _multiply(_array(x), _array(lines), added, y.numpy(), count_blocks())
    return y


@kernel(parallel=True)
def _sum_products(x: np.ndarray, y: np.ndarray, out: np.ndarray, n_blocks: int) -> None:
    (n_tokens, width), n_out = x.shape, y.shape[1]
    room = _SUMMED_TOKENS + 1
    for block in prange(n_blocks):
        first, last = width * block // n_blocks, width * (block + 1) // n_blocks
        places, values = np.empty((last - first) * room, np.uint32), np.empty((last - first) * room, np.float32)
        ends = np.empty(last - first, np.int64)
        for t0 in range(0, n_tokens, _SUMMED_TOKENS):
            for i in range(last - first):
                ends[i] = i * room
            for t in range(t0, min(t0 + _SUMMED_TOKENS, n_tokens)):
                for i in range(last - first):
                    n = ends[i]
                    places[n], values[n] = t, x[t, first + i]
                    ends[i] = n + np.int64(x[t, first + i] != 0)
            for f in range(0, n_out, SPAN):
                for i in range(last - first):
                    start = (first + i) * n_out + f
                    add_lines(out, start, y, n_out, f, places, values, i * room, ends[i])


def sum_products(x: Tensor, y: Tensor) -> Tensor:
    """`x.T @ y` of float32 `x` (tokens, width) and `y` (tokens, whole spans), skipping zeros of x."""
    if len(x) != len(y) or y.shape[1] % SPAN:
        raise ValueError(f"x {tuple(x.shape)}, y {tuple(y.shape)}: tokens must agree, outputs in whole {SPAN}s")
    out = x.new_zeros(x.shape[1], y.shape[1])
    _sum_products(_array(x), _array(y), out.numpy(), count_blocks())
    return out


def _array(x: Tensor) -> np.ndarray:
    """Without gaps, as `add_lines` takes it to be."""
    return x.detach().contiguous().numpy()
