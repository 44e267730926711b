"""Necessity: does the full model fail at the task once the circuit is taken out of it?

Source: Gao et al. 2025, section 3.1 ("removing these few edges breaks the task"). The circuit's nodes are put at
their means inside the full model; separately, all its edges are removed there. Random sets outside the circuit, matched
in number and liveliness (see `nulls`), say how much any such loss would hurt. Then nodes and edges go one at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

import torch

from thinwire.circuits.ablation import Means, isolate, remove_edges
from thinwire.circuits.graph import Edge
from thinwire.circuits.prompts import Prompts, logit_difference, task_accuracy, task_loss
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Edges, identity
from thinwire.model.nodes import Nodes
from thinwire.progress import Progress, silent
from thinwire.verification.claim import Claim
from thinwire.verification.finding import Finding, percent
from thinwire.verification.nulls import Variances, edge_pools, node_pools, random_edges, random_nodes, variances
from thinwire.verification.variants import accuracies, differences_replacing, list_nodes, losses, sample

ACCURACY = 0.75
"""Without the circuit the model may be right on at most this share of the prompts; guessing is 0.5."""
P_VALUE = 0.05


@dataclass(frozen=True)
class Removal:
    """What happens when one node or edge is taken out alone."""

    name: str
    """`site:channel`, or `site:channel -> site:channel`."""
    model_loss: float
    """Loss of the whole model without it, nats."""
    model_accuracy: float
    circuit_loss: float | None
    """Loss of the circuit without it; not measured for edges."""
    articulation: bool
    """Whether its removal from the whole model takes the accuracy to `ACCURACY` or less."""


@dataclass(frozen=True, kw_only=True)
class Necessity(Finding):
    model_loss: float
    """Task loss of the whole model, nats, on the pairs of this test."""
    nodes_loss: float
    """... with the circuit's nodes mean-ablated."""
    nodes_accuracy: float
    edges_loss: float
    """... with all the circuit's edges removed."""
    edges_accuracy: float
    random_losses: list[float]
    """... with a random set outside the circuit mean-ablated, one loss per set."""
    random_mean: float
    random_largest: float
    nodes_z: float | None
    """(nodes_loss - random_mean) / standard deviation of `random_losses`."""
    nodes_p: float
    """Exact: (1 + random sets that hurt at least as much) / (1 + random sets)."""
    random_edges_losses: list[float]
    edges_z: float | None
    edges_p: float | None
    """None when the circuit has no edges."""
    variance_ratio: float | None
    """Median over random sets of their nodes' summed variance over that of the circuit's nodes."""
    n_missing: int
    """Nodes that the random sets lack because a site has too few outside the circuit."""
    n_pairs: int
    nodes: list[Removal]
    """Single nodes, those that hurt the whole model most first."""
    edges: list[Removal]
    n_articulation_nodes: int
    n_articulation_edges: int


@torch.no_grad()
def necessity(
    model: GPT,
    claim: Claim,
    means: Means,
    prompts: Prompts,
    n_random: int = 200,
    n_random_edges: int = 200,
    n_nodes: int = 1 << 30,
    n_edges: int = 1 << 30,
    seed: int = 0,
    progress: Progress = silent,
) -> Necessity:
    """Take the circuit out of the full model, by nodes and by edges, and random sets beside it.

    `n_nodes` and `n_edges` bound how many are removed one at a time (drawn at random beyond it).
    """
    variance = variances(model, means, prompts)
    generator = torch.Generator().manual_seed(seed)
    pools = node_pools(model, claim, variance)
    drawn = [random_nodes(claim, variance, pools, generator) for _ in range(n_random)]
    removed = differences_replacing(model, prompts, [claim.nodes, *drawn], means)
    (nodes_loss, *random_losses), nodes_accuracy = losses(removed, prompts), accuracies(removed[:1], prompts)[0]
    model_loss, _ = _measure(model, prompts)
    edges_loss, edges_accuracy = _measure(model, prompts, remove_edges(model, claim.edges, means))
    n_sets = n_random_edges if claim.edges else 0
    edge_losses = _random_edge_losses(model, claim, means, prompts, variance, n_sets, generator, progress)
    nodes = _single_nodes(model, claim, means, prompts, n_nodes, seed)
    edges = _single_edges(model, claim, means, prompts, n_edges, seed)
    nodes_p = p_value(nodes_loss, random_losses)
    edges_p = p_value(edges_loss, edge_losses) if claim.edges else None
    nodes_pass = nodes_accuracy <= ACCURACY and nodes_p <= P_VALUE
    edges_pass = edges_p is None or (edges_accuracy <= ACCURACY and edges_p <= P_VALUE)
    return Necessity(
        passed=nodes_pass and edges_pass,
        threshold=f"without the nodes, and without the edges: accuracy at most {percent(ACCURACY)}, exact p against "
        f"random sets at most {P_VALUE}",
        sentence=_sentence(claim, model_loss, nodes_loss, nodes_accuracy, nodes_p, edges_loss, edges_accuracy, edges_p)
        + f" Random sets of nodes: {fmean(random_losses):.3f} on average, {max(random_losses):.3f} at most.",
        model_loss=model_loss,
        nodes_loss=nodes_loss,
        nodes_accuracy=nodes_accuracy,
        edges_loss=edges_loss,
        edges_accuracy=edges_accuracy,
        random_losses=random_losses,
        random_mean=fmean(random_losses),
        random_largest=max(random_losses),
        nodes_z=z_score(nodes_loss, random_losses),
        nodes_p=nodes_p,
        random_edges_losses=edge_losses,
        edges_z=z_score(edges_loss, edge_losses),
        edges_p=edges_p,
        variance_ratio=_variance_ratio(claim.nodes, drawn, variance),
        n_missing=claim.n_nodes - min(sum(map(len, nodes.values())) for nodes in drawn),
        n_pairs=prompts.n_pairs,
        nodes=nodes,
        edges=edges,
        n_articulation_nodes=sum(removal.articulation for removal in nodes),
        n_articulation_edges=sum(removal.articulation for removal in edges),
    )


def _measure(model: GPT, prompts: Prompts, edges: Edges | None = None) -> tuple[float, float]:
    """(loss, accuracy) of the whole model, without the edges that the masks take out."""
    difference = logit_difference(model, prompts, identity, edges)
    return float(task_loss(difference, prompts.sign)), task_accuracy(difference, prompts.sign)


def _random_edge_losses(
    model: GPT,
    claim: Claim,
    means: Means,
    prompts: Prompts,
    variance: Variances,
    n_sets: int,
    generator: torch.Generator,
    progress: Progress,
) -> list[float]:
    """Loss of the whole model without each of `n_sets` random sets of edges."""
    found, pools = [], edge_pools(model, claim, variance)
    with progress(f"necessity {claim.task}", total=n_sets, unit="set") as advance:
        for _ in range(n_sets):
            others = random_edges(model, claim, variance, pools, generator)
            found.append(_measure(model, prompts, remove_edges(model, others, means))[0])
            advance(1)
    return found


def p_value(observed: float, null: Sequence[float]) -> float:
    """Exact one-sided p: (1 + how many of `null` are at least `observed`) / (1 + how many there are)."""
    return (1 + sum(value >= observed for value in null)) / (1 + len(null))


def z_score(observed: float, null: Sequence[float]) -> float | None:
    """Standard deviations between `observed` and the mean of `null`; None where that has no spread."""
    spread = stdev(null) if len(null) > 1 else 0.0
    return (observed - fmean(null)) / spread if spread > 0 else None


def _variance_ratio(nodes: Nodes, drawn: Sequence[Nodes], variance: Variances) -> float | None:
    def total(of: Nodes) -> float:
        return float(sum(float(variance[site][list(channels)].sum()) for site, channels in of.items()))

    own = total(nodes)
    return median(map(total, drawn)) / own if own else None


def _single_nodes(model: GPT, claim: Claim, means: Means, prompts: Prompts, n: int, seed: int) -> list[Removal]:
    chosen = sample(list_nodes(claim.nodes), n, seed)
    variants: list[Nodes] = [{site: [channel]} for site, channel in chosen]
    in_model = differences_replacing(model, prompts, variants, means)
    keep = isolate(model, claim.nodes, means)
    in_circuit = losses(differences_replacing(model, prompts, variants, means, keep), prompts)
    rows = zip(chosen, losses(in_model, prompts), accuracies(in_model, prompts), in_circuit, strict=True)
    found = [Removal(f"{s}:{c}", loss, acc, alone, acc <= ACCURACY) for (s, c), loss, acc, alone in rows]
    return sorted(found, key=lambda removal: -removal.model_loss)


def _single_edges(model: GPT, claim: Claim, means: Means, prompts: Prompts, n: int, seed: int) -> list[Removal]:
    found = []
    for edge in sample(claim.edges, n, seed):
        difference = logit_difference(model, prompts, edges=remove_edges(model, [edge], means))
        accuracy = task_accuracy(difference, prompts.sign)
        loss = float(task_loss(difference, prompts.sign))
        found.append(Removal(edge_name(edge), loss, accuracy, None, accuracy <= ACCURACY))
    return sorted(found, key=lambda removal: -removal.model_loss)


def edge_name(edge: Edge) -> str:
    """`site:channel -> site:channel`."""
    return f"{edge.source_site}:{edge.source} -> {edge.target_site}:{edge.target}"


def _sentence(
    claim: Claim,
    model_loss: float,
    nodes_loss: float,
    nodes_accuracy: float,
    nodes_p: float,
    edges_loss: float,
    edges_accuracy: float,
    edges_p: float | None,
) -> str:
    nodes = (
        f"Without its {claim.n_nodes} nodes the model's loss rises from {model_loss:.3f} to {nodes_loss:.3f} "
        f"(right on {percent(nodes_accuracy)}, p = {nodes_p:.3f})"
    )
    if edges_p is None:
        return f"{nodes}; the circuit has no edges to remove."
    return (
        f"{nodes}; without its {len(claim.edges)} edges to {edges_loss:.3f} "
        f"(right on {percent(edges_accuracy)}, p = {edges_p:.3f})."
    )
