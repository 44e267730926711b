"""Null sets: what else could have been removed, equally many nodes or edges and equally lively ones.

A node's variance is the mean square of its activation about the mean that ablation puts in its place, on the task's
prompts, in the whole model: exactly what its ablation changes. An edge's is its weight squared times its source's.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.ablation import Means
from thinwire.circuits.graph import Edge
from thinwire.circuits.prompts import Prompts
from thinwire.model.gpt import GPT
from thinwire.model.sites import FINAL
from thinwire.verification.claim import Claim
from thinwire.verification.variants import record

NEAREST = 10
"""Each replacement is drawn from this many unused candidates of nearest variance."""
TINY = 1e-12

Variances = dict[str, Float[Tensor, " width"]]


@torch.no_grad()
def variances(model: GPT, means: Means, prompts: Prompts) -> Variances:
    """Site -> variance of every channel over all tokens of the prompts (`final`: over the last tokens)."""
    seen = record(model, prompts)
    tokens = torch.arange(prompts.tokens.shape[1], device=prompts.lengths.device) < prompts.lengths[:, None]
    found = {}
    for site in model.space.widths:
        x = seen[site] if site == FINAL else seen[site][tokens]
        found[site] = (x - means[site]).square().mean(0).cpu()
    return found


@dataclass(frozen=True)
class Pool:
    """What may be drawn at one site or in one matrix, by ascending log-variance."""

    spread: list[float]
    items: list[int]
    """Channel, or target x (number of sources) + source."""


def node_pools(model: GPT, claim: Claim, variance: Variances) -> dict[str, Pool]:
    """Site -> the nodes outside the circuit, for sites where the circuit has nodes."""
    pools = {}
    for site, width in model.space.widths.items():
        if inside := claim.nodes.get(site):
            outside = torch.ones(width, dtype=torch.bool)
            outside[inside] = False
            channels = outside.nonzero().flatten()
            pools[site] = _pool(variance[site][channels], channels)
    return pools


def edge_pools(model: GPT, claim: Claim, variance: Variances) -> dict[str, Pool]:
    """Matrix -> its nonzero weights outside the circuit, for matrices in which the circuit has edges."""
    ends = model.space.matrices
    pools = {}
    for name, inside in edges_by_matrix(model, claim.edges).items():
        weight = model.get_parameter(name).detach().cpu()
        outside = weight != 0
        outside[[edge.target for edge in inside], [edge.source for edge in inside]] = False
        places = outside.flatten().nonzero().flatten()
        carried = weight.square() * variance[ends[name][0]]
        pools[name] = _pool(carried.flatten()[places], places)
    return pools


def random_nodes(
    claim: Claim, variance: Variances, pools: Mapping[str, Pool], generator: torch.Generator
) -> dict[str, list[int]]:
    """A random set outside the circuit, as many nodes per site (or as many as there are), matched in variance."""
    drawn = {}
    for site, pool in pools.items():
        wanted = variance[site][claim.nodes[site]].clamp(min=TINY).log().tolist()
        drawn[site] = sorted(pool.items[i] for i in _match(wanted, pool.spread, generator))
    return {site: channels for site, channels in drawn.items() if channels}


def random_edges(
    model: GPT, claim: Claim, variance: Variances, pools: Mapping[str, Pool], generator: torch.Generator
) -> list[Edge]:
    """Random edges outside the circuit, as many per matrix (or as many as there are), matched in variance."""
    ends = model.space.matrices
    drawn: list[Edge] = []
    for name, inside in edges_by_matrix(model, claim.edges).items():
        (source_site, target_site), matrix = ends[name], model.get_parameter(name)
        carried = [edge.weight**2 * float(variance[source_site][edge.source]) for edge in inside]
        wanted = torch.tensor(carried).clamp(min=TINY).log().tolist()
        for i in _match(wanted, pools[name].spread, generator):
            target, source = divmod(pools[name].items[i], matrix.shape[1])
            drawn.append(Edge(source_site, source, target_site, target, float(matrix[target, source])))
    return drawn


def edges_by_matrix(model: GPT, edges: Sequence[Edge]) -> dict[str, list[Edge]]:
    """Matrix name -> its edges, for matrices that have some."""
    found: dict[str, list[Edge]] = {}
    for edge in edges:
        found.setdefault(model.space.matrix(edge.source_site, edge.target_site), []).append(edge)
    return found


def _pool(variance: Tensor, items: Tensor) -> Pool:
    spread = torch.sort(variance.clamp(min=TINY).log(), stable=True)
    return Pool(spread.values.tolist(), items[spread.indices].tolist())


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
