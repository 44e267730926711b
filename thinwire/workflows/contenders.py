"""The methods that the benchmark holds against known circuits. Each returns a choice and a ranking of everything.

    sufficient             the pruning: gates, bisection, sweeps of nodes and edges
    robust, faithful       the same, asked for more (pruning.requirement)
    attribution, signed    integrated gradients of the task loss along the gates, by rise of the loss
    attribution, absolute  the same, by its absolute value
    magnitude              sum of the magnitudes of a node's weights; of edges, the weight's
    chance                 a seeded shuffle

All but the prunings rank only: they choose the smallest beginning of their order of nodes that meets the target on
validation pairs, with all weights between these nodes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.edges import induced_edges
from thinwire.circuits.graph import Edge
from thinwire.ground_truth.results import Ranking
from thinwire.model.nodes import Nodes
from thinwire.pruning.baselines import attribution, weight_magnitude
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.describe import Problem
from thinwire.pruning.edge_curves import first_gates, node_curve
from thinwire.pruning.prune import finish, learn_gates
from thinwire.pruning.requirement import REQUIREMENTS, Requirement


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


Method = Callable[[Problem, PruneConfig], Choice]


def all_edges(problem: Problem) -> list[Edge]:
    """Every nonzero weight between nodes."""
    return induced_edges(problem.model, problem.model.space.everything())


def choose_by_pruning(problem: Problem, config: PruneConfig, require: Requirement) -> Choice:
    """Ranked by what was chosen, then by tau; an edge by the smaller tau of its ends."""
    space, config = problem.model.space, replace(config, require=require)
    (gates,) = learn_gates(problem.objective("train", config), space, [config])
    found = finish(problem, gates, config)
    edges = induced_edges(problem.model, found.nodes) if found.minimal_edges is None else found.minimal_edges
    tau, kept, everything = gates.tau.detach().cpu(), {edge[:4] for edge in edges}, all_edges(problem)
    smaller = torch.minimum(
        tau[[space.offsets[edge.source_site] + edge.source for edge in everything]],
        tau[[space.offsets[edge.target_site] + edge.target for edge in everything]],
    )
    chosen = torch.tensor([edge[:4] in kept for edge in everything])
    return Choice(
        found.nodes, edges, found.solved, tau + CHOSEN * space.mask(found.nodes), smaller + CHOSEN * chosen, "signed"
    )


CHOSEN = 3.0
"""Added to the score of what is in the circuit: more than tau's whole range, -1 to 1."""


def choose_by_attribution(problem: Problem, config: PruneConfig, ranking: Ranking) -> Choice:
    found = attribution(problem)
    nodes, by_matrix = found.nodes, found.edges
    rows, matrix = {name: values.tolist() for name, values in by_matrix.items()}, problem.model.space.matrix
    edges = torch.tensor([rows[matrix(e.source_site, e.target_site)][e.target][e.source] for e in all_edges(problem)])
    if ranking == "absolute":
        nodes, edges = nodes.abs(), edges.abs()
    return _first_that_will_do(problem, config, nodes.cpu(), edges, ranking)


def choose_by_magnitude(problem: Problem, config: PruneConfig) -> Choice:
    edges = torch.tensor([abs(edge.weight) for edge in all_edges(problem)])
    return _first_that_will_do(problem, config, weight_magnitude(problem.model), edges, "absolute")


def choose_by_chance(problem: Problem, config: PruneConfig) -> Choice:
    generator = torch.Generator().manual_seed(config.seed)
    nodes = torch.rand(problem.model.space.n_nodes, generator=generator)
    return _first_that_will_do(
        problem, config, nodes, torch.rand(len(all_edges(problem)), generator=generator), "absolute"
    )


def _first_that_will_do(
    problem: Problem, config: PruneConfig, nodes: Tensor, edges: Tensor, ranking: Ranking
) -> Choice:
    order = torch.sort(nodes, descending=True, stable=True).indices
    model = problem.model
    curve = node_curve(model, problem.engines["validation"], order, config.target_loss, model.device)
    n_kept = len(order) if curve.n_kept is None else curve.n_kept
    chosen = model.space.nodes(first_gates(order, n_kept))
    return Choice(chosen, induced_edges(model, chosen), curve.n_kept is not None, nodes, edges, ranking)


METHODS: dict[str, Method] = {
    **{name: partial(choose_by_pruning, require=name) for name in REQUIREMENTS},
    "attribution, signed": partial(choose_by_attribution, ranking="signed"),
    "attribution, absolute": partial(choose_by_attribution, ranking="absolute"),
    "magnitude": choose_by_magnitude,
    "chance": choose_by_chance,
}
