"""Minimality sweep: take out, one by one, what the target does not need.

Items (nodes, then edges) are tried in the order of their attributed effect, the least important first. While removals
succeed, twice as many are tried at once; after a failure fewer, down to one. An item that could not go is tried again
after later removals, near misses first, until all have failed against what is kept at the end: no single item can go
without missing the target.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.graph import Edge
from thinwire.progress import Progress, silent
from thinwire.pruning.objective import Objective

Item = TypeVar("Item")


def one_minimal(
    items: Sequence[Item],
    loss_of: Callable[[list[Item]], float],
    target: float,
    tried: Callable[[int], None] = lambda left: None,
) -> list[Item]:
    """A subset of `items` that meets the target and misses it with any single item less, in the order given.

    `items` as a whole is taken to meet it; they come least important first. `tried` hears after each trial how many
    are kept.
    """
    kept = list(range(len(items)))
    failed: dict[int, tuple[int, float]] = {}
    n_kept = -1
    while n_kept != len(kept):
        n_kept, size = len(kept), 1
        queue = [i for i in kept if i not in failed or failed[i][0] != n_kept]
        queue.sort(key=lambda i: failed[i][1] if i in failed else -1.0)
        while queue:
            batch = set(queue[:size])
            rest = [i for i in kept if i not in batch]
            loss = loss_of([items[i] for i in rest])
            if loss <= target:
                kept, queue, size = rest, queue[size:], size * 2
            elif len(batch) > 1:
                size = len(batch) // 2
            else:
                failed[queue.pop(0)] = (len(kept), loss)
            tried(len(kept))
    return [items[i] for i in kept]


def sweep_nodes(
    objective: Objective, gates: Float[Tensor, " nodes"], progress: Progress = silent
) -> Float[Tensor, " nodes"]:
    """Open gates of which none can go without missing what is asked; `gates` meet it."""
    rise, _ = objective.engine.effects(gates)
    chosen, target = gates.nonzero().flatten().tolist(), objective.target
    chosen.sort(key=lambda node: (float(rise[node]), node))

    def vector(nodes: list[int]) -> Tensor:
        swept = gates.new_zeros(gates.shape)
        swept[nodes] = 1
        return swept

    with progress("sweep nodes", total=len(chosen), unit="node") as advance:
        kept = one_minimal(
            chosen,
            lambda nodes: objective.lack(vector(nodes), limit=target),
            target,
            lambda left: advance(0, left=left),
        )
        advance(len(chosen))
    return vector(kept)


def sweep_edges(
    objective: Objective,
    gates: Float[Tensor, " nodes"],
    edges: list[Edge],
    progress: Progress = silent,
) -> list[Edge]:
    """Edges of `edges`, all those between the open gates, of which none can go, in the order given."""
    _, rise = objective.engine.effects(gates)
    space, target = objective.engine.model.space, objective.target

    def effect(edge: Edge) -> float:
        return float(rise[space.matrix(edge.source_site, edge.target_site)][edge.target, edge.source])

    order = sorted(range(len(edges)), key=lambda i: (effect(edges[i]), i))
    everything = set(order)
    with progress("sweep edges", total=len(order), unit="edge") as advance:
        kept = one_minimal(
            order,
            lambda chosen: objective.lack(gates, [edges[i] for i in everything - set(chosen)], limit=target),
            target,
            lambda left: advance(0, left=left),
        )
        advance(len(order))
    return [edges[i] for i in sorted(kept)]
