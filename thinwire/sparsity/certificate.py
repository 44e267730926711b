"""Which rows of a matrix can be trained on their nonzero weights alone without changing the step.

A zeroed weight starts a step at 0, and Adam moves no weight by more than learning rate x c: with moments of t
gradients,

    |m_hat| / (sqrt(v_hat) + eps) <= c_t,   r = b1^2 / b2,
    c_t = (1 - b1) / sqrt(1 - b2) x sqrt((1 - r^t) / (1 - r)) x sqrt(1 - b2^t) / (1 - b1^t)

by Cauchy and Schwarz, whatever the gradients were. c_t rises with t, so its limit holds for every t. Hence, with
reach = learning rate x c, no zeroed weight of a line can enter if after the step

    (i)  the line's `min_per_line`-th largest entry, which protects its place, is above the reach, and
    (ii) so is the smallest entry that is kept without protection.

Survivors move by no more than the reach either, and both figures move by no more than the entries do, so that before
the step twice the reach is enough. Lines that fail (i) are computed in full; their zeroed weights can only raise the
figure in (ii). Where (ii) fails, all lines of the matrix are computed in full.
"""

import math

import numpy as np

from thinwire.kernels.contract import Protect
from thinwire.sparsity.support import Support

SLACK = 1e-5
"""Room for rounding, relative to the reach and to the weight."""


def step_bound(beta1: float, beta2: float) -> float:
    """c: no entry moves by more than this times the learning rate in one step of Adam; 1.165 for 0.9 and 0.95."""
    return (1 - beta1) / math.sqrt((1 - beta2) * (1 - beta1**2 / beta2))


def certified_lines(
    magnitudes: np.ndarray, support: Support, k: int, protect: Protect, min_per_line: int, reach: float
) -> np.ndarray:
    """For each protected line (row where none are), whether none of its zeroed weights can enter in the coming step.

    `magnitudes` are those of the stored entries, `k` the number of entries that the coming projection keeps.
    """
    from thinwire.kernels.support import line_floors

    starts, order = support.lines(protect)
    n_lines = starts.size - 1
    needed = 2 * reach * (1 + SLACK)
    certified, pool = np.ones(n_lines, bool), magnitudes
    if protect and min_per_line:
        n_keep = min(min_per_line, support.shape[1 if protect == "rows" else 0])
        floors, protected = line_floors(magnitudes, starts, order, n_keep)
        certified = floors * (1 - SLACK) > needed
        pool = magnitudes[~protected]
        k -= n_keep * n_lines
    if smallest_kept(pool, k) * (1 - SLACK) > needed:
        return certified
    return np.zeros(n_lines, bool)


def smallest_kept(pool: np.ndarray, k: int) -> float:
    """The `k`-th largest; 0 where there are fewer, infinity where nothing is kept."""
    if k <= 0:
        return math.inf
    return float(np.partition(pool, pool.size - k)[pool.size - k]) if k <= pool.size else 0.0
