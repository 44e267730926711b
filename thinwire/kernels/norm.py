"""CPU kernels (numba): RMSNorm and its gradients, one pass over the rows each.

Each row, and each channel of the gain's gradient, is owned by one thread: any number of threads gives the same bytes.
"""

# The compiled functions are untyped for pyright: numba types them at the first call.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false

import numpy as np
import torch
from numba import prange
from torch import Tensor

from thinwire.kernels.blocks import count_blocks
from thinwire.kernels.compiled import kernel


@kernel(fastmath={"contract", "reassoc"})
def _dot(a: np.ndarray, b: np.ndarray) -> float:
    total = np.float32(0)
    for c in range(a.size):
        total += a[c] * b[c]
    return total


@kernel(parallel=True)
def _forward(x: np.ndarray, gain: np.ndarray, eps: float, scale: np.ndarray, y: np.ndarray, n_blocks: int) -> None:
    n_rows, width = x.shape
    for block in prange(n_blocks):
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            row, out = x[r], y[r]
            s = np.float32(1) / np.sqrt(_dot(row, row) / np.float32(width) + eps)
            scale[r] = s
            for c in range(width):
                out[c] = row[c] * s * gain[c]


@kernel(parallel=True)
def _backward(
    x: np.ndarray, gain: np.ndarray, scale: np.ndarray, dy: np.ndarray, dx: np.ndarray, n_blocks: int
) -> None:
    n_rows, width = x.shape
    for block in prange(n_blocks):
        for r in range(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks):
            row, upstream, out, s = x[r], dy[r], dx[r], scale[r]
            for c in range(width):
                out[c] = upstream[c] * gain[c]
            along = _dot(out, row) * s * s / np.float32(width)
            for c in range(width):
                out[c] = s * (out[c] - along * row[c])


@kernel(parallel=True)
def _gain_gradient(x: np.ndarray, scale: np.ndarray, dy: np.ndarray, d_gain: np.ndarray, n_blocks: int) -> None:
    n_rows, width = x.shape
    for block in prange(n_blocks):
        first, last = width * block // n_blocks, width * (block + 1) // n_blocks
        total = d_gain[first:last]
        total[:] = np.float32(0)
        for r in range(n_rows):
            row, upstream, s = x[r, first:last], dy[r, first:last], scale[r]
            for c in range(total.size):
                total[c] += upstream[c] * row[c] * s


def forward(x: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """(x / rms(x) x gain, 1 / rms(x)) of contiguous float32 rows `x` (n, D); eps is torch's default."""
    y, scale = torch.empty_like(x), x.new_empty(len(x))
    eps = np.float32(torch.finfo(x.dtype).eps)
    _forward(x.detach().numpy(), gain.detach().numpy(), eps, scale.numpy(), y.numpy(), count_blocks())
    return y, scale


def backward(x: Tensor, gain: Tensor, scale: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of x and gain."""
    dx, d_gain = torch.empty_like(x), torch.empty_like(gain)
    arrays = [t.detach().numpy() for t in (x, gain, scale, dy)]
    _backward(*arrays, dx.numpy(), count_blocks())
    _gain_gradient(arrays[0], arrays[2], arrays[3], d_gain.numpy(), count_blocks())
    return dx, d_gain
