"""From learned gates to a circuit: nodes ordered by tau, the count bisected.

Source: Gao et al. 2025, section 2.3.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Bisection:
    n_nodes: int
    """Smallest count found that meets the target, else the count with the lowest loss."""
    solved: bool
    curve: list[tuple[int, float]]
    """(count, loss) at every count looked at, ascending."""


CURVE_POINTS = 16


def spread_counts(n_open: int, n_total: int, n_points: int = CURVE_POINTS) -> list[int]:
    """Counts of nodes for a loss curve: evenly spaced in their logarithm from 1 to `n_total`, and `n_open`."""
    counts = {round(n_total ** (i / max(1, n_points - 1))) for i in range(n_points)}
    return sorted({min(max(1, count), n_total) for count in counts} | {n_open})


def bisect(loss_at: Callable[[int], float], n_open: int, n_total: int, target: float) -> Bisection:
    """Find the smallest count of nodes, taken in the order of tau, whose loss is at most `target`.

    The loss need not fall with the count, so the search starts at the open gates: it bisects below them where
    they meet the target, else between them and the whole model.
    """
    seen: dict[int, float] = {}

    def meets(count: int) -> bool:
        if count not in seen:
            seen[count] = loss_at(count)
        return seen[count] <= target

    low, high = (-1, n_open) if meets(n_open) else (n_open, n_total)
    solved = meets(high)
    while solved and high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    best = high if solved else min(seen, key=lambda count: (seen[count], count))
    return Bisection(best, solved, sorted(seen.items()))
