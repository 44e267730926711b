"""Null sets: what else could have been removed, equally many nodes or edges and equally lively ones.

A node's variance is the mean square of its activation about the mean that ablation puts in its place, on the task's
prompts, in the whole model: exactly what its ablation changes. An edge's is its weight squared times its source's.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.ablation import Means, widths
from thinwire.circuits.graph import Edge
from thinwire.circuits.prompts import Prompts
from thinwire.model.gpt import GPT
from thinwire.model.sites import FINAL, edge_matrices
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
    for site in widths(model):
        x = seen[site] if site == FINAL else seen[site][tokens]
        found[site] = (x - means[site]).square().mean(0).cpu()
    return found


def random_nodes(model: GPT, claim: Claim, variance: Variances, generator: torch.Generator) -> dict[str, list[int]]:
    """A random set outside the circuit, as many nodes per site (or as many as there are), matched in variance."""
    drawn = {}
    for site, width in widths(model).items():
        inside = claim.nodes.get(site, [])
        outside = sorted(set(range(width)) - set(inside))
        spread = variance[site].clamp(min=TINY).log()
        drawn[site] = sorted(outside[i] for i in _match(spread[inside], spread[outside], generator))
    return {site: channels for site, channels in drawn.items() if channels}


def random_edges(
    candidates: dict[str, list[Edge]], claim: Claim, variance: Variances, generator: torch.Generator
) -> list[Edge]:
    """Random edges outside the circuit, as many per matrix (or as many as there are), matched in variance."""
    drawn: list[Edge] = []
    by_matrix = edges_by_matrix(claim.edges, list(candidates))
    for name, inside in by_matrix.items():
        outside = candidates[name]
        chosen = _match(_edge_spread(inside, variance), _edge_spread(outside, variance), generator)
        drawn += [outside[i] for i in chosen]
    return drawn


def outside_edges(model: GPT, claim: Claim) -> dict[str, list[Edge]]:
    """Matrix -> its nonzero weights that are no edges of the circuit, for matrices in which the circuit has edges."""
    matrices = edge_matrices(model.config.n_layer)
    found = {}
    for name, inside in edges_by_matrix(claim.edges, list(matrices)).items():
        source, target = matrices[name]
        taken = {(edge.target, edge.source) for edge in inside}
        weight = model.get_parameter(name)
        places = [(row, column) for row, column in weight.nonzero().tolist() if (row, column) not in taken]
        values = weight[[p[0] for p in places], [p[1] for p in places]].tolist() if places else []
        found[name] = [Edge(source, column, target, row, w) for (row, column), w in zip(places, values, strict=True)]
    return found


def edges_by_matrix(edges: Sequence[Edge], names: Sequence[str]) -> dict[str, list[Edge]]:
    """Matrix name -> its edges, for those of `names` that have some."""
    n_layer = 1 + max((int(name.split(".")[1]) for name in names), default=-1)
    name_of = {ends: name for name, ends in edge_matrices(n_layer).items()}
    found: dict[str, list[Edge]] = {}
    for edge in edges:
        found.setdefault(name_of[edge.source_site, edge.target_site], []).append(edge)
    return found


def _edge_spread(edges: Sequence[Edge], variance: Variances) -> Tensor:
    values = [edge.weight**2 * float(variance[edge.source_site][edge.source]) for edge in edges]
    return torch.tensor(values, dtype=torch.float32).clamp(min=TINY).log()


def _match(wanted: Tensor, offered: Tensor, generator: torch.Generator) -> list[int]:
    """For each wanted value, in random order, one of the `NEAREST` unused offers; fewer where offers run out."""
    free = torch.ones(len(offered), dtype=torch.bool)
    chosen: list[int] = []
    for i in torch.randperm(len(wanted), generator=generator).tolist()[: len(offered)]:
        distance = torch.where(free, (offered - wanted[i]).abs(), torch.inf)
        n = min(NEAREST, int(free.sum()))
        near = torch.sort(distance, stable=True).indices[:n]
        pick = int(near[int(torch.randint(n, (1,), generator=generator))])
        free[pick] = False
        chosen.append(pick)
    return chosen
