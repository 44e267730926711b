"""Loss against the number of edges: along an order of nodes, or of edges.

1. sizes are spread evenly in their logarithm from one edge to all, and the loss is taken at each
2. between the first size that meets the target and the one before it the smallest that does is bisected
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from thinwire.circuits.graph import Edge
from thinwire.model.gpt import GPT
from thinwire.pruning.discretize import spread_counts
from thinwire.pruning.engine import Engine

Order = Int[Tensor, " nodes"]


@dataclass(frozen=True)
class EdgeCurve:
    """What an order gives at every size that was looked at."""

    points: list[tuple[int, float]]
    """(edges, validation loss), ascending in the edges."""
    n_edges: int | None
    """Fewest edges found that meet the target; None when no size does."""
    n_kept: int | None
    """How many first items of the order these take: nodes or edges."""


def edge_counts(model: GPT, order: Order) -> Int[Tensor, " nodes_and_1"]:
    """Number of induced edges between the first k nodes of `order`, for every k from 0 to all."""
    rank = torch.empty(len(order), dtype=torch.long)
    rank[order] = torch.arange(1, len(order) + 1)
    by_site = model.space.by_site(rank)
    born = torch.zeros(len(order) + 1, dtype=torch.long)
    for name, (source, target) in model.space.matrices.items():
        rows, columns = model.get_parameter(name).detach().cpu().nonzero(as_tuple=True)
        later = torch.maximum(by_site[target][rows], by_site[source][columns])
        born += torch.bincount(later, minlength=len(born))
    return born.cumsum(0)


def first_gates(order: Order, count: int) -> Tensor:
    """1 for the first `count` nodes of an order, 0 for the others."""
    gates = torch.zeros(len(order))
    gates[order[:count]] = 1
    return gates


def node_curve(model: GPT, validation: Engine, order: Order, target: float, device: torch.device) -> EdgeCurve:
    """The curve of the first nodes of an order with their induced edges."""
    counts = edge_counts(model, order)
    sizes = spread_counts(1, max(1, int(counts[-1])))
    places = sorted({int(torch.searchsorted(counts, size, right=True)) - 1 for size in sizes})
    return follow(places, lambda k: validation.loss(first_gates(order, k).to(device)), target, lambda k: int(counts[k]))


def edges_curve(
    validation: Engine,
    everything: Sequence[Edge],
    gates_of: Callable[[Sequence[Edge]], tuple[Tensor, list[Edge]]],
    target: float,
) -> EdgeCurve:
    """The curve of the first edges of `everything`; `gates_of` gives open gates and the edges removed between them."""

    def loss_at(count: int) -> float:
        return validation.loss(*gates_of(everything[:count]))

    return follow(spread_counts(1, max(1, len(everything))), loss_at, target, lambda count: count)


def follow(
    places: Sequence[int], loss_at: Callable[[int], float], target: float, edges_at: Callable[[int], int]
) -> EdgeCurve:
    """`loss_at` every one of `places`, ascending sizes, then bisected to where it first meets the target."""
    seen = {place: loss_at(place) for place in places}
    high = next((place for place in places if seen[place] <= target), None)
    if high is not None:
        low = max((place for place in places if place < high), default=-1)
        while high - low > 1:
            middle = (low + high) // 2
            seen[middle] = loss_at(middle)
            low, high = (low, middle) if seen[middle] <= target else (middle, high)
    points = sorted({edges_at(place): loss for place, loss in sorted(seen.items())}.items())
    return EdgeCurve(points, None if high is None else edges_at(high), high)
