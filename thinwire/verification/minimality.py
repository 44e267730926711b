"""Minimality: is everything in the circuit there for something?

Each node, and each edge where the circuit states which it needs, is taken out of the circuit alone. A part whose
removal moves the answers by less than `IDLE` of the way between the two sides is idle: it stands in the circuit without
doing anything there. Redundant parts are not idle because of one another unless one of them alone does all the work.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.model.nodes import list_nodes
from thinwire.model.sites import node_key
from thinwire.progress import Progress, silent
from thinwire.storage.records import Count, Number
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding, NotRun
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import edge_name, percent
from thinwire.verification.subject import Subject
from thinwire.verification.variants import replace_in_circuit, sample, single

IDLE = 0.02
SHARE = 0.03
THRESHOLD = (
    f"at most {percent(SHARE)} of the nodes, and of the edges where the circuit states which it needs, are idle (their "
    f"removal moves the answers by less than {percent(IDLE)} of the way)"
)


@dataclass(frozen=True, kw_only=True)
class Minimality(Finding):
    idle_nodes: list[str]
    n_nodes: Count
    """Nodes that were looked at."""
    idle_edges: list[str]
    n_edges: Count
    """Edges that were looked at."""
    edges_count: bool
    """Whether idle edges speak against the circuit: not where it states all weights between its nodes."""
    smallest_node: Number | None
    """The least that removing a node moves the answers, as a share of the way between the sides."""
    smallest_edge: Number | None


@torch.no_grad()
def minimality(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Minimality:
    """Take nodes and edges out of the circuit one at a time.

    Raises `NotRun` when the circuit does not tell the two sides apart to begin with.
    """
    claim, alone = subject.claim, subject.alone(material.test_pairs(budget.survey_pairs))
    before, n = alone.difference(), alone.prompts.n_pairs
    way = float((before[:n] - before[n:]).mean())
    if way <= 0:
        raise NotRun("the circuit alone does not tell the two sides apart, so that nothing can be lost")

    def moves(after: Float[Tensor, "V P"]) -> list[float]:
        return ((after - before).abs().mean(1) / way).tolist()

    nodes, edges = sample(list_nodes(claim.nodes), budget.nodes, seed), sample(claim.edges, budget.edges, seed)
    by_node = moves(replace_in_circuit(alone, single(nodes), subject.means)) if nodes else []
    by_edge = [moves(alone.without(edges=[edge]).difference()[None])[0] for edge in edges]
    idle_nodes = _idle((node_key(site, channel) for site, channel in nodes), by_node)
    idle_edges = _idle(map(edge_name, edges), by_edge)
    edges_count = claim.edge_kind != "induced"
    few = [len(idle_nodes) <= SHARE * len(nodes), not edges_count or len(idle_edges) <= SHARE * len(edges)]
    return Minimality(
        passed=all(few),
        threshold=THRESHOLD,
        sentence=_sentence(idle_nodes, len(nodes), idle_edges, len(edges)),
        n_pairs=n,
        idle_nodes=idle_nodes,
        n_nodes=len(nodes),
        idle_edges=idle_edges,
        n_edges=len(edges),
        edges_count=edges_count,
        smallest_node=min(by_node, default=None),
        smallest_edge=min(by_edge, default=None),
    )


def _idle(names: Iterable[str], effects: Iterable[float]) -> list[str]:
    return [name for name, effect in zip(names, effects, strict=True) if effect < IDLE]


def _sentence(idle_nodes: list[str], n_nodes: int, idle_edges: list[str], n_edges: int) -> str:
    def named(idle: list[str]) -> str:
        return f" ({', '.join(idle[:3])}{', ...' if len(idle) > 3 else ''})" if idle else ""

    return (
        f"Taken out of the circuit one at a time, {len(idle_nodes)} of {n_nodes} nodes{named(idle_nodes)} and "
        f"{len(idle_edges)} of {n_edges} edges{named(idle_edges)} change nothing."
    )
