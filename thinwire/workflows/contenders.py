"""The methods that the benchmark holds against known circuits. Each returns a choice and a ranking of everything.

    sufficient             the pruning: gates, bisection, sweeps of nodes and edges
    attribution, signed    integrated gradients of the task loss along the gates, by rise of the loss
    attribution, absolute  the same, by its absolute value
    magnitude              sum of the magnitudes of a node's weights; of edges, the weight's
    chance                 a seeded shuffle

All but the pruning rank only: they choose the smallest beginning of their order of nodes that meets the target on
validation pairs, with all weights between these nodes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.edges import induced_edges
from thinwire.circuits.graph import Edge
from thinwire.model.nodes import Nodes
from thinwire.pruning.baselines import attribution, weight_magnitude
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.describe import Setting
from thinwire.pruning.edge_curves import first_gates, node_curve
from thinwire.pruning.prune import finish, learn_gates

Ranking = Literal["signed", "absolute"]


@dataclass(frozen=True)
class Choice:
    """What a method makes of one model and task."""

    nodes: Nodes
    edges: list[Edge]
    solved: bool
    """Whether the choice meets the target on validation pairs; else it is everything, or the best that was found."""
    node_scores: Float[Tensor, " nodes"]
    edge_scores: Float[Tensor, " edges"]
    """In the order of `all_edges`."""
    ranking: Ranking


Method = Callable[[Setting, PruneConfig], Choice]


def all_edges(setting: Setting) -> list[Edge]:
    """Every nonzero weight between nodes."""
    return induced_edges(setting.model, setting.model.space.everything())


def choose_by_pruning(setting: Setting, config: PruneConfig) -> Choice:
    """Ranked by what was chosen, then by tau; an edge by the smaller tau of its ends."""
    space = setting.model.space
    (gates,) = learn_gates(setting.objectives["train"], space, [config])
    found = finish(setting, gates, config)
    edges = induced_edges(setting.model, found.nodes) if found.minimal_edges is None else found.minimal_edges
    tau, kept, everything = gates.tau.detach().cpu(), {edge[:4] for edge in edges}, all_edges(setting)
    ends = torch.stack([tau[[space.offsets[e[0]] + e[1] for e in everything]], tau[_targets(setting, everything)]])
    chosen = torch.tensor([edge[:4] in kept for edge in everything])
    return Choice(
        found.nodes, edges, found.solved, tau + 3 * space.mask(found.nodes), ends.min(0).values + 3 * chosen, "signed"
    )


def _targets(setting: Setting, edges: Sequence[Edge]) -> list[int]:
    offsets = setting.model.space.offsets
    return [offsets[edge.target_site] + edge.target for edge in edges]


def choose_by_attribution(setting: Setting, config: PruneConfig, ranking: Ranking) -> Choice:
    nodes, by_matrix = attribution(setting)
    rows, matrix = {name: values.tolist() for name, values in by_matrix.items()}, setting.model.space.matrix
    edges = torch.tensor([rows[matrix(e.source_site, e.target_site)][e.target][e.source] for e in all_edges(setting)])
    if ranking == "absolute":
        nodes, edges = nodes.abs(), edges.abs()
    return _first_that_will_do(setting, config, nodes.cpu(), edges, ranking)


def choose_by_magnitude(setting: Setting, config: PruneConfig) -> Choice:
    edges = torch.tensor([abs(edge.weight) for edge in all_edges(setting)])
    return _first_that_will_do(setting, config, weight_magnitude(setting.model), edges, "absolute")


def choose_by_chance(setting: Setting, config: PruneConfig) -> Choice:
    generator = torch.Generator().manual_seed(config.seed)
    nodes = torch.rand(setting.model.space.n_nodes, generator=generator)
    return _first_that_will_do(
        setting, config, nodes, torch.rand(len(all_edges(setting)), generator=generator), "absolute"
    )


def _first_that_will_do(
    setting: Setting, config: PruneConfig, nodes: Tensor, edges: Tensor, ranking: Ranking
) -> Choice:
    order = torch.sort(nodes, descending=True, stable=True).indices
    model = setting.model
    curve = node_curve(model, setting.objectives["validation"], order, config.target_loss, model.device)
    n_kept = len(order) if curve.n_kept is None else curve.n_kept
    chosen = model.space.nodes(first_gates(order, n_kept))
    return Choice(chosen, induced_edges(model, chosen), curve.n_kept is not None, nodes, edges, ranking)


METHODS: dict[str, Method] = {
    "sufficient": choose_by_pruning,
    "attribution, signed": lambda setting, config: choose_by_attribution(setting, config, "signed"),
    "attribution, absolute": lambda setting, config: choose_by_attribution(setting, config, "absolute"),
    "magnitude": choose_by_magnitude,
    "chance": choose_by_chance,
}
