"""Tables over tokens, made short: few values, and few tokens that have another one than all the rest.

A table of two values is a condition: whether the token is in a set. How much a token counts is how often it occurs in
train prompts, or how much attention it gets there where the table is what a head brings.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from thinwire.decompile.expressions import Attended, OfToken
from thinwire.decompile.rewrites import Scene

MOST_LEVELS = 6
"""Values that a table may have; what cannot do with as few keeps a value for each token."""


def tables(scene: Scene) -> list[OfToken]:
    """Tables of the program, the longest first."""
    found = [x for x in scene.parts if isinstance(x, OfToken)]
    return sorted(found, key=lambda x: -len(x.listed))


def importance(table: OfToken, scene: Scene) -> Float64[np.ndarray, " V"]:
    """How much each token counts in train prompts."""
    train, n = scene.train, len(table.values)
    total = np.zeros(n)
    for x in scene.parts:
        if isinstance(x, Attended) and x.value is table:
            np.add.at(total, train.tokens, train.pattern_of_last(x.pattern))
    if total.any():
        return total
    if table in scene.looked_at:
        return np.bincount(train.tokens[train.inside], minlength=n).astype(np.float64)
    return np.bincount(train.tokens[np.arange(len(train.lengths)), train.lengths - 1], minlength=n).astype(np.float64)


def coarse(table: OfToken, counts: Float64[np.ndarray, " V"], n_levels: int) -> OfToken:
    """The table with `n_levels` values at most: those that leave the smallest squared error, weighted by `counts`.

    All tokens that never occur get one of them: the nearest to their median.
    """
    seen, unseen = np.flatnonzero(counts), np.flatnonzero(counts == 0)
    levels, group = _levels(table.values[seen], counts[seen], n_levels)
    usual = np.median(table.values[unseen]) if len(unseen) else levels[np.bincount(group, counts[seen]).argmax()]
    values = np.full(len(table.values), levels[np.abs(levels - usual).argmin()])
    values[seen] = levels[group]
    return OfToken(values)


def by_importance(table: OfToken, counts: Float64[np.ndarray, " V"]) -> list[int]:
    """The listed tokens, those first that count for least."""
    tokens, rest = np.array(table.listed, dtype=np.int64), table.rest
    return tokens[np.argsort(counts[tokens] * np.abs(table.values[tokens] - rest), kind="stable")].tolist()


def without(table: OfToken, tokens: Sequence[int]) -> OfToken:
    """The table in which these tokens have the value of all that are not listed."""
    values = table.values.copy()
    values[list(tokens)] = table.rest
    return OfToken(values)


def _levels(values: np.ndarray, weights: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Weighted k-means on a line, exactly: (n values, ascending; the number of the one of each of `values`)."""
    distinct, place = np.unique(values, return_inverse=True)
    weight = np.bincount(place, weights)
    n = min(n, len(distinct))
    sums = np.concatenate([[0.0], np.cumsum(weight)]), np.concatenate([[0.0], np.cumsum(weight * distinct)])
    squares = np.concatenate([[0.0], np.cumsum(weight * distinct**2)])
    m = len(distinct)
    start, end = np.meshgrid(np.arange(m + 1), np.arange(m + 1), indexing="ij")
    total = sums[0][end] - sums[0][start]
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = squares[end] - squares[start] - (sums[1][end] - sums[1][start]) ** 2 / total
    cost = np.where(end > start, cost, np.inf)  # (m + 1, m + 1): of one group of distinct values [start, end)
    best, cuts = cost[0], []
    for _ in range(n - 1):
        through = best[:, None] + cost
        cuts.append(through.argmin(0))
        best = through.min(0)
    ends = [m]
    for cut in reversed(cuts):
        ends.append(int(cut[ends[-1]]))
    edges = [0, *reversed(ends)]
    levels = np.array([np.average(distinct[a:b], weights=weight[a:b]) for a, b in zip(edges, edges[1:], strict=False)])
    return levels, (np.searchsorted(edges, place, side="right") - 1)
