"""What learned gates are worth: other ways of choosing, at the same number of edges and under the same evaluation.

    gates             the learned gates' own order, before any sweep
    attribution       integrated gradients of the task loss along the gates, from all nodes at their means to all open
                      (attribution patching, with more than one point on the way)
    magnitude         sum of the magnitudes of a node's weights in and out
    random            a seeded shuffle
    edge_attribution  the same integrated gradients, by edges

All but one order nodes; a circuit is the longest beginning of the order whose induced edges are no more than asked
for. `edge_attribution` orders edges: all nodes that the first ones touch are kept, and all `embed` and `final` nodes,
which carry no block edges; every other edge between them lies at its source's mean, as after a sweep of edges. Each
circuit is described and scored as a learned one is; the loss is followed along each order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from thinwire.circuits.edges import induced_edges
from thinwire.circuits.graph import Circuit, Edge
from thinwire.model.gpt import GPT
from thinwire.model.sites import EMBED, FINAL
from thinwire.progress import Progress, silent
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.describe import FoundCircuit, Problem, describe
from thinwire.pruning.edge_curves import EdgeCurve, Order, edge_counts, edges_curve, first_gates, node_curve
from thinwire.pruning.importance import attribution, weight_magnitude
from thinwire.pruning.prune import learn_gates
from thinwire.pruning.sweep import sweep_nodes

METHODS = ("gates", "attribution", "edge_attribution", "magnitude", "random")


@dataclass(frozen=True)
class Baseline:
    """One way of choosing beside a learned and swept circuit."""

    circuit: Circuit
    """At most as many edges as that one has: induced ones, minimal ones where edges were chosen."""
    curve: EdgeCurve
    swept: Circuit | None = None
    """The smallest beginning that meets the target, after the sweep of nodes; None without one, or for edges."""


def node_orders(problem: Problem, config: PruneConfig, scores: Tensor, progress: Progress = silent) -> dict[str, Order]:
    """Method -> all nodes, the most important first; ties go to the earlier node. `scores` are the attribution's."""

    def falling(values: Tensor) -> Order:
        return torch.sort(values, descending=True, stable=True).indices.cpu()

    title = f"gates {problem.identity.task}"
    (gates,) = learn_gates(problem.objective("train", config), problem.model.space, [config], title, progress)
    return {
        "gates": falling(gates.tau.detach()),
        "attribution": falling(scores),
        "magnitude": falling(weight_magnitude(problem.model)),
        "random": torch.randperm(len(scores), generator=torch.Generator().manual_seed(config.seed)),
    }


def at_most_edges(model: GPT, order: Order, n_edges: int) -> dict[str, list[int]]:
    """The longest beginning of an order with at most `n_edges` induced edges."""
    count = int(torch.searchsorted(edge_counts(model, order), n_edges, right=True)) - 1
    return model.space.nodes(first_gates(order, count))


def edges_by_score(model: GPT, scores: dict[str, Tensor]) -> list[Edge]:
    """All nonzero weights of the block matrices, the largest score first."""
    whole = induced_edges(model, model.space.everything())
    rows = {name: values.tolist() for name, values in scores.items()}
    matrix = model.space.matrix
    return sorted(whole, key=lambda e: rows[matrix(e.source_site, e.target_site)][e.target][e.source], reverse=True)


def touched(model: GPT, edges: Sequence[Edge]) -> dict[str, list[int]]:
    """The nodes that `edges` touch, and all nodes of `embed` and `final`."""
    nodes: dict[str, set[int]] = {site: set() for site in model.space.widths}
    for edge in edges:
        nodes[edge.source_site].add(edge.source)
        nodes[edge.target_site].add(edge.target)
    nodes[EMBED], nodes[FINAL] = set(range(model.config.d_model)), set(range(model.config.d_model))
    return {site: sorted(channels) for site, channels in nodes.items() if channels}


def choose_otherwise(
    problem: Problem, learned: Circuit, config: PruneConfig, *, sweep: bool = False, progress: Progress = silent
) -> tuple[dict[str, Baseline], float]:
    """(method -> its circuit of no more edges than `learned` has, and its curve; the attributions' completeness gap).

    With `sweep` the circuits are also swept.
    Gates learn anew under `config`, those of `learned`. Test pairs are read for the scores alone.
    """
    attributed = attribution(problem)
    orders = node_orders(problem, config, attributed.nodes, progress)
    found = {}
    with progress(f"baselines {learned.task}", total=len(METHODS), unit="method") as advance:
        for method in METHODS:
            if method in orders:
                found[method] = _by_nodes(problem, orders[method], learned, config, sweep)
            else:
                found[method] = _by_edges(problem, attributed.edges, learned, config)
            advance(1)
    return found, attributed.gap


def _by_nodes(problem: Problem, order: Order, learned: Circuit, config: PruneConfig, sweep: bool) -> Baseline:
    model, validation = problem.model, problem.engines["validation"]
    device = model.device
    circuit = _judged(problem, FoundCircuit(at_most_edges(model, order, learned.n_edges), False, []), config)
    curve = node_curve(model, validation, order, config.target_loss, device)
    if not sweep or curve.n_kept is None:
        return Baseline(circuit, curve)
    start = first_gates(order, curve.n_kept).to(device)
    objective = problem.objective("validation", config)
    swept = model.space.nodes(sweep_nodes(objective, start, objective.target))
    unswept = (curve.n_kept, curve.n_edges or 0)
    return Baseline(circuit, curve, _judged(problem, FoundCircuit(swept, False, [], unswept), config))


def _by_edges(problem: Problem, scores: dict[str, Tensor], learned: Circuit, config: PruneConfig) -> Baseline:
    model, device = problem.model, problem.model.device
    ordered = edges_by_score(model, scores)

    def gates_of(edges: Sequence[Edge]) -> tuple[Tensor, list[Edge]]:
        nodes = touched(model, edges)
        gates = model.space.mask(nodes, device).float()
        return gates, sorted(set(induced_edges(model, nodes)) - set(edges))

    n_edges = learned.n_edges if learned.n_minimal_edges is None else learned.n_minimal_edges
    chosen = sorted(ordered[:n_edges])
    circuit = _judged(problem, FoundCircuit(touched(model, chosen), False, [], minimal_edges=chosen), config)
    curve = edges_curve(problem.engines["validation"], ordered, gates_of, config.target_loss)
    return Baseline(circuit, curve)


def _judged(problem: Problem, found: FoundCircuit, config: PruneConfig) -> Circuit:
    """Described like a learned circuit; solved or not by the validation loss, which no search has looked at here."""
    circuit = describe(problem, found, config)
    scores = circuit.scores if circuit.minimal_scores is None else circuit.minimal_scores
    loss = scores["validation"].loss
    status = "solved" if loss <= circuit.target_loss else "not_solved"
    return replace(circuit, status=status, loss_curve=[(circuit.n_nodes, loss)])
