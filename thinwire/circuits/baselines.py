"""What learned gates are worth: other ways of choosing nodes, at the same number of edges.

    attribution   integrated gradients of the task loss along the gates, from all nodes at their means to all open
                  (attribution patching, with more than one point on the way)
    magnitude     sum of the magnitudes of a node's weights in and out
    random        a seeded shuffle

Each gives an order of nodes. The circuit is the longest beginning of the order whose induced edges are no more than
those of the learned circuit; it is described and scored exactly as that one is. `edge_attribution` chooses edges
instead, with all nodes that these touch and all `embed` and `final` nodes, which carry no block edges.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.circuits.ablation import widths
from thinwire.circuits.config import PruneConfig
from thinwire.circuits.describe import Found, Setting, describe
from thinwire.circuits.edges import induced_edges
from thinwire.circuits.graph import Circuit, Edge
from thinwire.circuits.objective import PlainObjective
from thinwire.model.gpt import GPT
from thinwire.model.sites import EMBED, FINAL, edge_matrices

IG_STEPS = 8
"""Points on the way of the integrated gradients."""
IG_PAIRS = 64
"""Train pairs over which they are taken."""

Order = Int[Tensor, " nodes"]


def attribution(setting: Setting) -> tuple[Float[Tensor, " nodes"], dict[str, Tensor]]:
    """Integrated gradients: rise of the train loss credited to each node, and to each weight of each matrix."""
    prompts = setting.prompts["train"]
    chosen = prompts.pairs(torch.arange(min(IG_PAIRS, prompts.n_pairs), device=prompts.tokens.device))
    plain = PlainObjective(setting.model, chosen, setting.means, setting.norm_scales == "whole")
    everything = torch.cat([torch.ones_like(mean) for mean in setting.means.values()])
    points = [plain.effects(everything * ((i + 0.5) / IG_STEPS)) for i in range(IG_STEPS)]
    nodes = torch.stack([n for n, _ in points]).mean(0)
    return nodes, {name: torch.stack([e[name] for _, e in points]).mean(0) for name in points[0][1]}


def weight_magnitude(model: GPT) -> Float[Tensor, " nodes"]:
    """Sum of the magnitudes of each node's weights, embedding and unembedding included."""
    total = {site: torch.zeros(width) for site, width in widths(model).items()}
    for name, (source, target) in edge_matrices(model.config.n_layer).items():
        weight = model.get_parameter(name).detach().abs().cpu()
        total[source] += weight.sum(0)
        total[target] += weight.sum(1)
    total[EMBED] += model.embed.weight.detach().abs().sum(0).cpu()
    total[FINAL] += model.unembed.weight.detach().abs().sum(0).cpu()
    return torch.cat(list(total.values()))


def node_orders(setting: Setting, seed: int) -> dict[str, Order]:
    """Method -> all nodes, the most important first; ties go to the earlier node."""

    def falling(scores: Tensor) -> Order:
        return torch.sort(scores, descending=True, stable=True).indices.cpu()

    n_nodes = sum(widths(setting.model).values())
    return {
        "attribution": falling(attribution(setting)[0]),
        "magnitude": falling(weight_magnitude(setting.model)),
        "random": torch.randperm(n_nodes, generator=torch.Generator().manual_seed(seed)),
    }


def first_nodes(model: GPT, order: Order, count: int) -> dict[str, list[int]]:
    """The first `count` nodes of an order, by site."""
    gates = torch.zeros(len(order), dtype=torch.bool)
    gates[order[:count]] = True
    sizes = widths(model)
    parts = zip(sizes, gates.split(list(sizes.values())), strict=True)
    return {site: part.nonzero().flatten().tolist() for site, part in parts if part.any()}


def at_most_edges(model: GPT, order: Order, n_edges: int) -> dict[str, list[int]]:
    """The longest beginning of an order with at most `n_edges` induced edges; their number rises along the order."""
    low, high = 0, len(order) + 1
    while high - low > 1:
        middle = (low + high) // 2
        fits = len(induced_edges(model, first_nodes(model, order, middle))) <= n_edges
        low, high = (middle, high) if fits else (low, middle)
    return first_nodes(model, order, low)


def top_edges(model: GPT, scores: dict[str, Tensor], n_edges: int) -> tuple[dict[str, list[int]], list[Edge]]:
    """(nodes, edges): the `n_edges` nonzero weights of the largest scores, and the nodes that they touch."""
    whole = induced_edges(model, {site: range(width) for site, width in widths(model).items()})
    names = {ends: name for name, ends in edge_matrices(model.config.n_layer).items()}

    def score(edge: Edge) -> float:
        return float(scores[names[edge.source_site, edge.target_site]][edge.target, edge.source])

    chosen = sorted(sorted(whole, key=score, reverse=True)[:n_edges])
    nodes: dict[str, set[int]] = {site: set() for site in widths(model)}
    for edge in chosen:
        nodes[edge.source_site].add(edge.source)
        nodes[edge.target_site].add(edge.target)
    nodes[EMBED], nodes[FINAL] = set(range(model.config.d_model)), set(range(model.config.d_model))
    return {site: sorted(channels) for site, channels in nodes.items() if channels}, chosen


def baselines(setting: Setting, config: PruneConfig, n_edges: int) -> dict[str, Circuit]:
    """Method -> its circuit of at most `n_edges` edges, an artefact like any other."""
    model = setting.model
    found = {name: Found(at_most_edges(model, o, n_edges), False, []) for name, o in _orders(setting, config)}
    nodes, edges = top_edges(model, attribution(setting)[1], n_edges)
    found["edge_attribution"] = Found(nodes, False, [], minimal_edges=edges)
    return {name: _judged(describe(setting, f, config)) for name, f in found.items()}


def _orders(setting: Setting, config: PruneConfig) -> list[tuple[str, Order]]:
    return list(node_orders(setting, config.seed).items())


def _judged(circuit: Circuit) -> Circuit:
    """Solved or not by the validation loss, which no search has looked at here."""
    scores = circuit.scores if circuit.minimal_scores is None else circuit.minimal_scores
    loss = scores["validation"].loss
    status = "solved" if loss <= circuit.target_loss else "not_solved"
    return replace(circuit, status=status, loss_curve=[(circuit.n_nodes, loss)])
