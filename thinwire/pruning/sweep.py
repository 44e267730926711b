"""Minimality sweep: take out, one by one, what the target does not need.

Items (nodes, then edges) are tried in the order of their attributed effect, the least important first. While removals
succeed, twice as many are tried at once; after a failure fewer, down to one. An item that could not go is tried again
after later removals, near misses first, until all have failed against what is kept at the end: no single item can go
without missing the target.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.edges import induced_edges
from thinwire.circuits.graph import Edge
from thinwire.progress import Progress, silent
from thinwire.pruning.objective import Objective
from thinwire.pruning.reach import on_a_path

Item = TypeVar("Item")


class Minimiser(Generic[Item]):
    """A sweep that can be interrupted: `run` goes on with it, `kept` is what it has come to."""

    def __init__(self, items: Sequence[Item], loss_of: Callable[[list[Item]], float], target: float) -> None:
        """`items` as a whole is taken to meet the target; they come least important first."""
        self.items, self.loss_of, self.target = items, loss_of, target
        self.places = list(range(len(items)))
        self.done = False
        self._trials = self._sweep()

    @property
    def kept(self) -> list[Item]:
        """Items that are left, in the order given."""
        return [self.items[i] for i in self.places]

    def run(self, n_trials: int | None = None, tried: Callable[[int], None] = lambda left: None) -> None:
        """Try removals, at most `n_trials` of them, or to the end. `tried` hears after each how many are kept."""
        while n_trials is None or n_trials > 0:
            if next(self._trials, None) is None:
                self.done = True
                return
            tried(len(self.places))
            n_trials = None if n_trials is None else n_trials - 1

    def _sweep(self) -> Iterator[bool]:
        """One trial after the other, until every single item has failed against what is kept."""
        failed: dict[int, tuple[int, float]] = {}
        n_kept = -1
        while n_kept != len(self.places):
            n_kept, size = len(self.places), 1
            queue = [i for i in self.places if i not in failed or failed[i][0] != n_kept]
            queue.sort(key=lambda i: failed[i][1] if i in failed else -1.0)
            while queue:
                batch = set(queue[:size])
                rest = [i for i in self.places if i not in batch]
                loss = self.loss_of([self.items[i] for i in rest])
                if loss <= self.target:
                    self.places, queue, size = rest, queue[size:], size * 2
                elif len(batch) > 1:
                    size = len(batch) // 2
                else:
                    failed[queue.pop(0)] = (len(self.places), loss)
                yield True


def one_minimal(
    items: Sequence[Item],
    loss_of: Callable[[list[Item]], float],
    target: float,
    tried: Callable[[int], None] = lambda left: None,
) -> list[Item]:
    """A subset of `items` that meets the target and misses it with any single item less, in the order given."""
    minimiser = Minimiser(items, loss_of, target)
    minimiser.run(tried=tried)
    return minimiser.kept


def node_minimiser(objective: Objective, gates: Float[Tensor, " nodes"], target: float) -> Minimiser[int]:
    """The sweep of the open gates' nodes, the least effect first."""
    rise = objective.rise(gates)
    chosen = gates.nonzero().flatten().tolist()
    chosen.sort(key=lambda node: (float(rise[node]), node))
    return Minimiser(chosen, lambda nodes: objective.lack(opened(gates, nodes), limit=target), target)


def opened(like: Float[Tensor, " nodes"], nodes: Sequence[int]) -> Float[Tensor, " nodes"]:
    """1 at the given places, 0 elsewhere."""
    gates = like.new_zeros(like.shape)
    gates[list(nodes)] = 1
    return gates


def sweep_nodes(
    objective: Objective, gates: Float[Tensor, " nodes"], target: float, progress: Progress = silent
) -> Float[Tensor, " nodes"]:
    """Open gates of which none can go without missing what is asked; `gates` meet it.

    `target` bounds what may be lacking, on the scale of `Objective.lack`.
    """
    sweep = node_minimiser(objective, gates, target)
    with progress("sweep nodes", total=len(sweep.items), unit="node") as advance:
        sweep.run(tried=lambda left: advance(0, left=left))
        advance(len(sweep.items))
    return opened(gates, sweep.kept)


def sweep_strands(
    objective: Objective, gates: Float[Tensor, " nodes"], target: float, progress: Progress = silent
) -> Float[Tensor, " nodes"]:
    """Open gates of which none can go, nor any together with all that is on no path from token to answer without it.

    Two nodes that cancel each other cannot go one by one where each is asked to do what it does in the model: with what
    feeds both they can.
    """
    space = objective.engine.model.space
    while True:
        before, kept = gates, gates.nonzero().flatten().tolist()
        with progress("sweep strands", total=len(kept), unit="node") as advance:
            for node in kept:
                strand = _strand(objective, gates, node) if gates[node] else []
                if len(strand) > 1:
                    rest = gates.clone()
                    rest[strand] = 0
                    gates = rest if objective.lack(rest, limit=target) <= target else gates
                advance(1, left=int(gates.sum()))
        if space.nodes(gates) == space.nodes(before):
            return gates
        gates = sweep_nodes(objective, gates, target, progress)


def _strand(objective: Objective, gates: Float[Tensor, " nodes"], node: int) -> list[int]:
    """The node, and the open nodes that are on no path without it."""
    model = objective.engine.model
    rest = gates.clone()
    rest[node] = 0
    nodes = model.space.nodes(rest)
    reached = model.space.mask(on_a_path(model.space, nodes, induced_edges(model, nodes)), gates.device)
    return ((gates > 0) & ~reached).nonzero().flatten().tolist()


FIRST_TRIALS = 64
"""Removals that each start may try before the first starts are given up; twice as many in every later round."""


def sweep_best(
    objective: Objective, starts: Sequence[Float[Tensor, " nodes"]], target: float, progress: Progress = silent
) -> Float[Tensor, " nodes"]:
    """The smallest of several starts' sweeps, under one budget: after each round the larger half is given up.

    Every start meets what is asked. One start is `sweep_nodes`.
    """
    if len(starts) == 1:
        return sweep_nodes(objective, starts[0], target, progress)
    running, n_trials = [node_minimiser(objective, gates, target) for gates in starts], FIRST_TRIALS
    with progress("sweep nodes of several starts", total=len(starts), unit="start") as advance:
        while len(running) > 1 and not all(sweep.done for sweep in running):
            for sweep in running:
                sweep.run(n_trials)
            running.sort(key=lambda sweep: len(sweep.places))
            half = (len(running) + 1) // 2
            advance(len(running) - half, left=len(running[0].places))
            running, n_trials = running[:half], 2 * n_trials
        best = min(running, key=lambda sweep: len(sweep.places))
        best.run(tried=lambda left: advance(0, left=left))
        advance(len(running))
    return opened(starts[0], best.kept)


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
        found = float(rise[space.matrix(edge.source_site, edge.target_site)][edge.target, edge.source])
        return found if objective.asks_for_the_task_alone else abs(found)

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
