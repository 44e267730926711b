"""Null sets: what else could have been removed, equally many nodes or edges and equally lively ones.

A node's variance is the mean square of its activation about the mean that ablation puts in its place, on the task's
prompts, in the whole model: exactly what its ablation changes. An edge's is its weight squared times its source's.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.ablation import Means
from thinwire.circuits.graph import Edge
from thinwire.circuits.patching import record, token_rows
from thinwire.circuits.prompts import Prompts
from thinwire.model.gpt import GPT
from thinwire.verification.subject import Subject

NEAREST = 10
"""Each replacement is drawn from this many unused candidates of nearest variance."""
MIN_SETS = 19
"""Fewer cannot give an exact p of 0.05."""
COMPLETE = 0.9
"""Share of the circuit's nodes, or edges, that every null set has to have: smaller ones hurt less by their size."""
TINY = 1e-12

Variances = dict[str, Float[Tensor, " width"]]


@torch.no_grad()
def variances(model: GPT, means: Means, prompts: Prompts) -> Variances:
    """Site -> variance of every channel over all tokens of the prompts (`final`: over the last tokens)."""
    seen = token_rows(record(model, prompts)[0], prompts)
    return {site: (seen[site] - means[site]).square().mean(0).cpu() for site in model.space.sites}


@dataclass(frozen=True)
class DrawPool:
    """What may be drawn at one site or in one matrix, by ascending log-variance."""

    spread: list[float]
    items: list[int]
    """Channel, or target x (number of sources) + source."""


def draw_nodes(
    subject: Subject, variance: Variances, n_sets: int, generator: torch.Generator
) -> list[dict[str, list[int]]]:
    """Random sets outside the circuit, as many nodes per site (or as many as there are), matched in variance."""
    pools, claim = _node_pools(subject, variance), subject.claim
    wanted = {site: variance[site][claim.nodes[site]].clamp(min=TINY).log().tolist() for site in pools}

    def draw() -> dict[str, list[int]]:
        drawn = {
            site: sorted(pool.items[i] for i in _match(wanted[site], pool.spread, generator))
            for site, pool in pools.items()
        }
        return {site: channels for site, channels in drawn.items() if channels}

    return [draw() for _ in range(n_sets)]


def draw_edges(subject: Subject, variance: Variances, n_sets: int, generator: torch.Generator) -> list[list[Edge]]:
    """Random edges outside the circuit, as many per matrix (or as many as there are), matched in variance."""
    model, inside = subject.model, _edges_by_matrix(subject)
    pools, wanted = _edge_pools(subject, variance), {}
    for name, edges in inside.items():
        carried = [edge.weight**2 * float(variance[edge.source_site][edge.source]) for edge in edges]
        wanted[name] = torch.tensor(carried).clamp(min=TINY).log().tolist()

    def draw() -> list[Edge]:
        drawn = []
        for name, pool in pools.items():
            (source_site, target_site), matrix = model.space.matrices[name], model.get_parameter(name)
            for i in _match(wanted[name], pool.spread, generator):
                target, source = divmod(pool.items[i], matrix.shape[1])
                drawn.append(Edge(source_site, source, target_site, target, float(matrix[target, source])))
        return drawn

    return [draw() for _ in range(n_sets)]


def too_few(sizes: Sequence[int], wanted: int) -> bool:
    """Whether null sets of these sizes say nothing about a set of `wanted`: too few sets, or sets too small."""
    return len(sizes) < MIN_SETS or min(sizes) < COMPLETE * wanted


def _node_pools(subject: Subject, variance: Variances) -> dict[str, DrawPool]:
    """Site -> the nodes outside the circuit, for sites where the circuit has nodes."""
    pools = {}
    for site, inside in subject.claim.nodes.items():
        outside = torch.ones(subject.model.space.widths[site], dtype=torch.bool)
        outside[inside] = False
        channels = outside.nonzero().flatten()
        pools[site] = _pool(variance[site][channels], channels)
    return pools


def _edge_pools(subject: Subject, variance: Variances) -> dict[str, DrawPool]:
    """Matrix -> its nonzero weights outside the circuit, for matrices in which the circuit has edges."""
    pools = {}
    for name, inside in _edges_by_matrix(subject).items():
        weight = subject.model.get_parameter(name).detach().cpu()
        outside = weight != 0
        outside[[edge.target for edge in inside], [edge.source for edge in inside]] = False
        places = outside.flatten().nonzero().flatten()
        carried = weight.square() * variance[inside[0].source_site]
        pools[name] = _pool(carried.flatten()[places], places)
    return pools


def _edges_by_matrix(subject: Subject) -> dict[str, list[Edge]]:
    """Matrix name -> the circuit's edges in it, for matrices that have some."""
    found: dict[str, list[Edge]] = {}
    for edge in subject.claim.edges:
        found.setdefault(subject.model.space.matrix(edge.source_site, edge.target_site), []).append(edge)
    return found


def _pool(variance: Tensor, items: Tensor) -> DrawPool:
    spread = torch.sort(variance.clamp(min=TINY).log(), stable=True)
    return DrawPool(spread.values.tolist(), items[spread.indices].tolist())


def _match(wanted: Sequence[float], offered: Sequence[float], generator: torch.Generator) -> list[int]:
    """For each wanted value, in random order, one of the `NEAREST` unused of the ascending offers.

    Fewer where offers run out.
    """
    used: set[int] = set()
    for i in torch.randperm(len(wanted), generator=generator).tolist()[: len(offered)]:
        near = _nearest(wanted[i], offered, used)
        used.add(near[int(torch.randint(len(near), (1,), generator=generator))])
    return sorted(used)


def _nearest(value: float, offered: Sequence[float], used: set[int]) -> list[int]:
    """Up to `NEAREST` places not in `used`, by distance to `value`."""
    right = bisect_left(offered, value)
    left, found = right - 1, []
    while len(found) < NEAREST and (left >= 0 or right < len(offered)):
        go_left = right >= len(offered) or (left >= 0 and value - offered[left] <= offered[right] - value)
        place, left, right = (left, left - 1, right) if go_left else (right, left, right + 1)
        if place not in used:
            found.append(place)
    return found
