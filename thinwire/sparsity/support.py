"""The stored entries of a weight matrix, by row and by column, and what training needs of them.

Training whose cost follows the nonzeros computes gradients, moments and projection on these entries alone. They are the
nonzero weights and, where a row is computed in full, its zeros too.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from thinwire.kernels.contract import Protect


@dataclass(frozen=True, eq=False)
class Support:
    """Which entries of a (rows, columns) matrix are stored, in row-major order; their values are kept elsewhere."""

    shape: tuple[int, int]
    flat: np.ndarray
    """Positions row x n_columns + column, ascending, int64."""
    starts: np.ndarray
    """Row r holds the entries starts[r] to starts[r + 1] - 1."""
    columns: np.ndarray
    """Column of every entry, uint32."""
    column_starts: np.ndarray
    """Column c holds the entries order[column_starts[c]:column_starts[c + 1]]."""
    rows: np.ndarray
    """Row of every entry of `order`, uint32."""
    order: np.ndarray
    """Entries column by column, ascending in each, int64."""

    def __len__(self) -> int:
        return self.flat.size

    def lines(self, protect: Protect) -> tuple[np.ndarray, np.ndarray]:
        """(starts, order) of the protected lines; of the rows where none are."""
        if protect == "columns":
            return self.column_starts, self.order
        return self.starts, np.arange(self.flat.size)


def support_of(flat: np.ndarray, shape: tuple[int, int]) -> Support:
    """The Support of ascending positions; two counting passes, no sorting."""
    from thinwire.kernels.support import structure

    return Support(shape, flat, *structure(flat, *shape))


@dataclass(frozen=True, eq=False)
class SupportMatrix:
    """A matrix W that a linear map reads from its stored entries: the leaves that training differentiates."""

    support: Support
    values: Tensor
    """Values of the entries, shape (n,)."""
    probes: Tensor
    """Random signs Z, shape (p, columns)."""
    probe: Tensor
    """P, zeros of shape (rows, p). The map is x (W + P Z)^T, so that P's gradient is G Z^T, with G the gradient of all
    of W: |G Z^T|^2 / p is an unbiased estimate of |G|^2, for the cost of p more entries in every row and column."""


def project_entries_(values: np.ndarray, support: Support, k: int, protect: Protect, min_per_line: int) -> None:
    """`project_topk_` of a matrix that is zero outside `support`, on its entries alone, in place."""
    from thinwire.kernels.support import line_floors

    magnitudes = np.abs(values)
    kept = np.zeros(values.size, bool)
    if protect and min_per_line:
        starts, order = support.lines(protect)
        n_keep = min(min_per_line, support.shape[1 if protect == "rows" else 0])
        kept = line_floors(magnitudes, starts, order, n_keep)[1]
        k -= n_keep * (starts.size - 1)
    pool = np.flatnonzero(~kept)
    kept[pool[largest(magnitudes[pool], k)]] = True
    values[~kept] = 0


def largest(magnitudes: np.ndarray, k: int) -> np.ndarray:
    """Positions of the `k` largest; lower index wins ties."""
    if k <= 0:
        return np.empty(0, np.int64)
    if magnitudes.size <= k:
        return np.arange(magnitudes.size)
    threshold = np.partition(magnitudes, magnitudes.size - k)[magnitudes.size - k]
    above = magnitudes > threshold
    ties = np.flatnonzero(magnitudes == threshold)[: k - int(above.sum())]
    above[ties] = True
    return np.flatnonzero(above)
