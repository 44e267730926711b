"""Necessity: does the full model fail at the task once the circuit is taken out of it?

Source: Gao et al. 2025, section 3.1 ("removing these few edges breaks the task"). The circuit's nodes are put at
their means inside the full model; separately, all its edges are removed there. Random sets outside the
circuit, with the same number of nodes at every site, say how much any such loss of nodes would hurt.
"""

from dataclasses import dataclass

import torch

from thinwire.circuits.ablation import Means, Nodes, ablate, remove_edges, widths
from thinwire.circuits.graph import Circuit
from thinwire.circuits.prompts import Prompts, answer_difference, task_accuracy, task_loss
from thinwire.model.gpt import GPT
from thinwire.model.seams import Edges, Tap, identity
from thinwire.progress import Progress, silent


@dataclass(frozen=True)
class Necessity:
    model_loss: float
    """Task loss of the whole model, nats, on test pairs."""
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
    n_missing: int
    """Nodes that the random sets lack because a site has too few outside the circuit."""
    passed: bool
    """Whether ablating the circuit's nodes hurts more than every random set, and accuracy falls below 0.75."""


def random_nodes(model: GPT, circuit: Circuit, generator: torch.Generator) -> dict[str, list[int]]:
    """A random set outside the circuit with as many nodes per site, or as many as there are."""
    drawn = {}
    for site, width in widths(model).items():
        inside = circuit.nodes.get(site, [])
        outside = sorted(set(range(width)) - set(inside))
        order = torch.randperm(len(outside), generator=generator)[: len(inside)]
        drawn[site] = sorted(outside[i] for i in order.tolist())
    return drawn


@torch.no_grad()
def necessity(
    model: GPT,
    circuit: Circuit,
    means: Means,
    prompts: Prompts,
    n_random: int = 20,
    seed: int = 0,
    progress: Progress = silent,
) -> Necessity:
    """Take the circuit out of the full model, by nodes and by edges, and `n_random` random sets beside it."""

    def measure(tap: Tap = identity, edges: Edges | None = None) -> tuple[float, float]:
        difference = answer_difference(model, prompts, tap, edges)
        return float(task_loss(difference, prompts.sign)), task_accuracy(difference, prompts.sign)

    def without(nodes: Nodes) -> tuple[float, float]:
        return measure(ablate(model, nodes, means))

    generator = torch.Generator().manual_seed(seed)
    nodes_loss, nodes_accuracy = without(circuit.nodes)
    edges_loss, edges_accuracy = measure(edges=remove_edges(model, circuit.edges, means))
    random_losses, n_missing = [], 0
    with progress(f"necessity {circuit.task}", total=n_random, unit="set") as advance:
        for _ in range(n_random):
            drawn = random_nodes(model, circuit, generator)
            n_missing = circuit.n_nodes - sum(map(len, drawn.values()))
            random_losses.append(without(drawn)[0])
            advance(1)
    return Necessity(
        model_loss=measure()[0],
        nodes_loss=nodes_loss,
        nodes_accuracy=nodes_accuracy,
        edges_loss=edges_loss,
        edges_accuracy=edges_accuracy,
        random_losses=random_losses,
        random_mean=sum(random_losses) / n_random,
        random_largest=max(random_losses),
        n_missing=n_missing,
        passed=nodes_loss > max(random_losses) and nodes_accuracy < 0.75,
    )
