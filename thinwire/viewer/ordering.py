"""Left-to-right order and positions: barycentre sweeps over columns and rows.

Residual channels are columns shared by every layer; heads and neurons are blocks in rows between
them. Each sweep moves blocks to the weighted mean of their neighbours' positions, then columns,
and the arrangement with the shortest total |weight| x distance is kept. Everything is in slots
(one slot = room for one node) and deterministic: ties go to the lower index.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SWEEPS = 12


@dataclass(frozen=True)
class Links:
    """Edges between nodes 0..n-1 as three arrays of the same length."""

    source: np.ndarray
    target: np.ndarray
    strength: np.ndarray

    def cost(self, x: np.ndarray) -> float:
        """Total strength x horizontal distance."""
        return float(np.sum(self.strength * np.abs(x[self.source] - x[self.target])))

    def pull(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Per node: sum of strength x neighbour's position, and sum of strength."""
        n, s, t, w = len(x), self.source, self.target, self.strength
        moment = np.bincount(s, w * x[t], n) + np.bincount(t, w * x[s], n)
        return moment, np.bincount(s, w, n) + np.bincount(t, w, n)


@dataclass(frozen=True)
class Block:
    """Nodes that stand side by side and move together: a neuron, or a head's q, k and v channels."""

    groups: tuple[tuple[int, ...], ...]
    """Node indices; groups keep their order, nodes may swap within one."""
    width: float
    """Room taken, in slots."""
    gap: float = 0.0
    """Extra space between groups, in slots."""

    @property
    def members(self) -> list[int]:
        return [node for group in self.groups for node in group]


def place(wanted: np.ndarray, widths: np.ndarray, low: float, high: float) -> np.ndarray:
    """Centres nearest to `wanted` (least squares) of intervals that keep their order and do not overlap.

    Pool adjacent violators on `wanted` minus the cumulated distances, then clipped to [low, high].
    """
    offsets = np.concatenate([[0.0], np.cumsum((widths[1:] + widths[:-1]) / 2)])
    pools: list[list[float]] = []
    for value in wanted - offsets:
        pools.append([float(value), 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, size = pools.pop()
            before, n = pools.pop()
            pools.append([(before * n + mean * size) / (n + size), n + size])
    pooled = np.repeat([mean for mean, _ in pools], [int(size) for _, size in pools])
    return np.clip(pooled, low + widths[0] / 2, high - widths[-1] / 2 - offsets[-1]) + offsets


def _mean(nodes: Sequence[int], moment: np.ndarray, weight: np.ndarray, otherwise: float) -> float:
    total = float(weight[list(nodes)].sum())
    return float(moment[list(nodes)].sum()) / total if total > 0 else otherwise


def _spread(block: Block, centre: float, x: np.ndarray, pull: tuple[np.ndarray, np.ndarray]) -> None:
    """Write the positions of a block's nodes around its centre."""
    n, gaps = len(block.members), block.gap * (len(block.groups) - 1)
    cursor = centre - (n + gaps) / 2 + 0.5
    for group in block.groups:
        for node in sorted(group, key=lambda node: (_mean([node], *pull, x[node]), node)):
            x[node] = cursor
            cursor += 1
        cursor += block.gap


def _move_row(row: list[Block], x: np.ndarray, links: Links, width: float) -> list[Block]:
    pull = links.pull(x)
    wanted = [_mean(block.members, *pull, float(x[block.members].mean())) for block in row]
    order = sorted(range(len(row)), key=lambda i: (wanted[i], min(row[i].members)))
    row = [row[i] for i in order]
    centres = place(np.array(wanted)[order], np.array([block.width for block in row]), 0.0, width)
    for block, centre in zip(row, centres, strict=True):
        _spread(block, float(centre), x, pull)
    return row


def _move_columns(columns: list[list[int]], x: np.ndarray, links: Links, width: float) -> list[list[int]]:
    moment, weight = links.pull(x)
    key = {min(c): _mean(c, moment, weight, float(x[c[0]])) for c in columns}
    columns = sorted(columns, key=lambda c: (key[min(c)], min(c)))
    _stand(columns, x, width)
    return columns


def _stand(columns: list[list[int]], x: np.ndarray, width: float) -> None:
    for rank, column in enumerate(columns):
        x[column] = (rank + 0.5) * width / len(columns)


def arrange(columns: list[list[int]], rows: list[list[Block]], links: Links, n_nodes: int) -> tuple[np.ndarray, float]:
    """Positions of all nodes in slots, and the width of the picture in slots.

    `columns` are the nodes of each residual channel, `rows` the blocks of each row between them;
    every node is in exactly one of them.
    """
    width = float(max([len(columns), *(sum(block.width for block in row) for row in rows), 2.0]))
    x = np.full(n_nodes, width / 2)
    rows = [row for row in rows if row]
    _stand(columns, x, width)
    best, best_cost = x.copy(), float("inf")
    for _ in range(SWEEPS):
        rows = [_move_row(row, x, links, width) for row in rows]
        if (cost := links.cost(x)) < best_cost - 1e-9:
            best, best_cost = x.copy(), cost
        columns = _move_columns(columns, x, links, width)
    return best, width
