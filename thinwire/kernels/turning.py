"""CPU kernels (numba): blocks of activations turned feature-major and back.

A tile of 16 x 16 floats is transposed in registers: loaded as 16 vectors, shuffled four times, stored as 16 vectors. So
each cache line is read once and written once, however many rows share a cache set.
"""

# The compiled functions are untyped for pyright: numba types them at the first call; llvmlite has no types.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false
# pyright: reportMissingTypeStubs=false, reportIndexIssue=false, reportAttributeAccessIssue=false

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from thinwire.kernels.compiled import kernel

TILE = 16  # floats of one cache line
PAD = 16  # keeps rows of a power of two long from falling into the same cache sets
_FLOAT_BYTES = 4


@intrinsic
def _turn_tile(typing: Any, source: Any, source_step: Any, target: Any, target_step: Any) -> Any:
    """Store the transpose of a 16 x 16 float32 tile; addresses and the bytes from row to row are integers."""
    signature = types.void(types.intp, types.intp, types.intp, types.intp)

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        source, source_step, target, target_step = arguments
        vector = ir.VectorType(ir.FloatType(), TILE)

        def row(base: Any, step: Any, r: int) -> Any:
            address = builder.add(base, builder.mul(step, ir.Constant(step.type, r)))
            return builder.inttoptr(address, vector.as_pointer())

        rows = [builder.load(row(source, source_step, r), align=_FLOAT_BYTES) for r in range(TILE)]
        lower, upper = (_interleaving(first) for first in (0, TILE // 2))
        for _stage in range(4):  # log2 of 16: each interleaves row r with row r + 8
            pairs = zip(rows[: TILE // 2], rows[TILE // 2 :], strict=True)
            rows = [builder.shuffle_vector(a, b, mask) for a, b in pairs for mask in (lower, upper)]
        for r in range(TILE):
            builder.store(rows[r], row(target, target_step, r), align=_FLOAT_BYTES)
        return context.get_dummy_value()

    return signature, generate


def _interleaving(first: int) -> Any:
    """Mask that takes a[first], b[first], a[first + 1], b[first + 1] and so on."""
    places = [first + j // 2 + TILE * (j % 2) for j in range(TILE)]
    return ir.Constant(ir.VectorType(ir.IntType(32), TILE), places)


@kernel()
def turn(x: np.ndarray, out: np.ndarray) -> None:
    """out[i, t] = x[t, i]; `out` may be larger. Both have rows without gaps."""
    n_tokens, width = x.shape
    tokens, features = n_tokens // TILE * TILE, width // TILE * TILE
    for t in range(0, tokens, TILE):
        for i in range(0, features, TILE):
            _turn_tile(
                x.ctypes.data + t * x.strides[0] + i * _FLOAT_BYTES,
                x.strides[0],
                out.ctypes.data + i * out.strides[0] + t * _FLOAT_BYTES,
                out.strides[0],
            )
        for i in range(features, width):
            for u in range(t, t + TILE):
                out[i, u] = x[u, i]
    for t in range(tokens, n_tokens):
        for i in range(width):
            out[i, t] = x[t, i]


@kernel()
def turn_back(totals: np.ndarray, y: np.ndarray) -> None:
    """y[t, r] = totals[r, t] for the columns of `y`, one tile of them or less."""
    n_tokens, width = y.shape
    tokens = n_tokens // TILE * TILE if width == TILE else 0
    for t in range(0, tokens, TILE):
        _turn_tile(
            totals.ctypes.data + t * _FLOAT_BYTES,
            totals.strides[0],
            y.ctypes.data + t * y.strides[0],
            y.strides[0],
        )
    for t in range(tokens, n_tokens):
        for r in range(width):
            y[t, r] = totals[r, t]
