"""CPU kernels (numba): GELU, and AbsTopK of its result, in one pass over the rows each way.

The forward pass leaves each entry's slope: gelu'(x) where AbsTopK keeps it, else 0. Every row is one thread's: any
number of threads gives the same bytes.
"""

# The compiled functions are untyped for pyright: numba types them at the first call.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

import numpy as np
import torch
from numba import prange
from torch import Tensor

from thinwire.kernels.blocks import count_blocks
from thinwire.kernels.compiled import kernel
from thinwire.kernels.cpu import MAGNITUDE, find_threshold, first_guess

_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_SMALLEST = np.float32(-87.0)  # exp of less is below the smallest normal float32
_DENSITY_AT_0 = np.float32(0.3989422804014327)  # 1 / sqrt(2 pi)
_NEAR = np.float32(0.2316419)


@kernel(fastmath={"contract"})
def _exp(x: float) -> float:
    """exp of a non-positive number, to about one unit in the last place (see `cross_entropy.exp_`); 0 below -87."""
    too_small = x < _SMALLEST
    y = np.float32(_SMALLEST if too_small else x)
    n = np.floor(y * _LOG2_E + np.float32(0.5))
    r = y - n * _LN2_HIGH - n * _LN2_LOW
    p = np.float32(1.9875691500e-4) * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23))
    return np.float32(0) if too_small else (p * r * r + r + np.float32(1)) * power.view(np.float32)


@kernel(fastmath={"contract"}, error_model="numpy")
def gelu_row(row: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> None:
    """values = x Phi(x) and slopes = Phi(x) + x phi(x) of every x in `row`.

    Phi(-|x|) is exp(-x^2 / 2) times a polynomial in 1 / (1 + 0.2316419 |x|), the form of Abramowitz and Stegun 26.2.17;
    eight coefficients, fitted to |x| <= 14, bring its relative error to 1.3e-7.
    """
    for j in range(row.size):
        x = row[j]
        size = abs(x)
        bell = _exp(np.float32(-0.5) * x * x)
        t = np.float32(1) / (np.float32(1) + _NEAR * size)
        tail = np.float32(-0.0704241444)
        tail = tail * t + np.float32(0.247686689)
        tail = tail * t + np.float32(-0.201660434)
        tail = tail * t + np.float32(0.22525341)
        tail = tail * t + np.float32(0.0135517778)
        tail = tail * t + np.float32(0.102650439)
        tail = tail * t + np.float32(0.0904200777)
        tail = tail * t + np.float32(0.0925222499)
        tail = tail * t * bell
        below = tail if x < np.float32(0) else np.float32(1) - tail
        values[j] = x * below
        slopes[j] = below + x * bell * _DENSITY_AT_0


@kernel(parallel=True)
def _gelu_topk(x: np.ndarray, k: int, kept: np.ndarray, slopes: np.ndarray, n_blocks: int) -> None:
    n_rows, width = x.shape
    for block in prange(n_blocks):
        values, slope, bits = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.int32)
        guess, raw = first_guess(width), values.view(np.int32)
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            gelu_row(x[r], values, slope)
            for j in range(width):
                bits[j] = raw[j] & MAGNITUDE
            threshold = find_threshold(bits, k, guess)
            row = kept[r]
            for j in range(width):
                row[j] = values[j] if bits[j] >= threshold else np.float32(0)
            if slopes.size:
                out = slopes[r]
                for j in range(width):
                    out[j] = slope[j] if bits[j] >= threshold else np.float32(0)


@kernel(parallel=True)
def _times_slope(grad: np.ndarray, slopes: np.ndarray, out: np.ndarray, n_blocks: int) -> None:
    for block in prange(n_blocks):
        first, last = grad.size * block // n_blocks, grad.size * (block + 1) // n_blocks
        upstream, slope, result = grad[first:last], slopes[first:last], out[first:last]
        for i in range(result.size):
            result[i] = upstream[i] * slope[i] if slope[i] != 0 else np.float32(0)  # NaN is dropped too


def gelu_topk(x: Tensor, k: int, with_slopes: bool) -> tuple[Tensor, Tensor | None]:
    """(AbsTopK of gelu(x), slopes if wanted) of contiguous float32 `x`, rows along the last axis."""
    kept, slopes = torch.empty_like(x), torch.empty_like(x) if with_slopes else x.new_empty(0, x.shape[-1])
    rows = (t.detach().view(-1, x.shape[-1]).numpy() for t in (kept, slopes))
    _gelu_topk(x.detach().view(-1, x.shape[-1]).numpy(), min(k, x.shape[-1]), *rows, count_blocks())
    return kept, slopes if with_slopes else None


def gelu_topk_backward(grad: Tensor, slopes: Tensor) -> Tensor:
    """Gradient of x; both contiguous, of one shape."""
    out = torch.empty_like(grad)
    _times_slope(*(t.view(-1).numpy() for t in (grad, slopes, out)), count_blocks())
    return out
