"""Necessity: does the full model fail at the task once the circuit is taken out of it?

Source: Gao et al. 2025, section 3.1 ("removing these few edges breaks the task"). The circuit's nodes are put at
their means inside the full model; separately, all its edges are removed there. Random sets outside the circuit, matched
in number and liveliness (see `nulls`), say how much any such loss would hurt. Then nodes and edges go one at a time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.ablation import ablate, remove_edges
from thinwire.circuits.graph import Edge
from thinwire.circuits.prompts import Prompts, logit_difference, task_accuracy, task_loss
from thinwire.model.hooks import Edges, Hook, identity
from thinwire.model.nodes import Nodes, list_nodes
from thinwire.model.sites import node_key
from thinwire.progress import Progress, silent
from thinwire.storage.records import Count, Loss, Number, Ratio, Share
from thinwire.verification.budget import Budget
from thinwire.verification.claim import Claim
from thinwire.verification.finding import Finding
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import edge_name, mean, p_value, percent, z_score
from thinwire.verification.nulls import MIN_SETS, Variances, draw_edges, draw_nodes, too_few, variances
from thinwire.verification.subject import Subject
from thinwire.verification.variants import (
    accuracies,
    losses,
    replace_in_circuit,
    replace_in_model,
    sample,
    single,
)

ACCURACY = 0.75
"""Without the circuit the model may be right on at most this share of the prompts; guessing is 0.5."""
TRACE = 0.05
"""... or keep at most this share of its difference: a trace of the answer may be right on every prompt, by a hair."""
P_VALUE = 0.05


@dataclass(frozen=True)
class Removal:
    """What happens when one node or edge is taken out alone."""

    name: str
    """`site:channel`, or `site:channel -> site:channel`."""
    model_loss: Loss
    """Loss of the whole model without it, nats."""
    model_accuracy: Share
    circuit_loss: Loss | None
    """Loss of the circuit without it; not measured for edges."""
    articulation: bool
    """Whether its removal from the whole model takes the accuracy to `ACCURACY` or less."""


@dataclass(frozen=True, kw_only=True)
class Necessity(Finding):
    model_loss: Loss
    """Task loss of the whole model, nats, on all test pairs."""
    nodes_loss: Loss
    """... with the circuit's nodes mean-ablated."""
    nodes_accuracy: Share
    nodes_left: Number
    """Share of the whole model's mean difference in favour of the right answer that is left."""
    edges_loss: Loss
    """... with all the circuit's edges removed."""
    edges_accuracy: Share
    edges_left: Number
    n_null_pairs: Count
    """Pairs on which removals are held against random ones, and single nodes and edges are removed."""
    random_losses: list[Loss]
    """Task loss on these pairs with a random set outside the circuit mean-ablated, one loss per set."""
    random_mean: Loss | None
    random_largest: Loss | None
    nodes_z: Number | None
    """(loss without the nodes - random_mean) / standard deviation of `random_losses`, all on the same pairs."""
    nodes_p: Share | None
    """Exact: (1 + random sets that hurt at least as much) / (1 + random sets); None where the sets are too small."""
    random_edges_losses: list[Loss]
    edges_z: Number | None
    edges_p: Share | None
    """None when the circuit has no edges, or where the sets are too small."""
    variance_ratio: Ratio | None
    """Median over random sets of their nodes' summed variance over that of the circuit's nodes."""
    n_missing: Count
    """Nodes that the random sets lack because a site has too few outside the circuit."""
    n_missing_edges: Count
    nodes: list[Removal]
    """Single nodes, those that hurt the whole model most first."""
    edges: list[Removal]
    n_articulation_nodes: Count
    n_articulation_edges: Count


@torch.no_grad()
def necessity(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Necessity:
    """Take the circuit out of the full model, by nodes and by edges, and random sets beside it."""
    claim = subject.claim
    whole, few = _Removals(subject, material.test), _Removals(subject, material.test_pairs(budget.null_pairs))
    generator = torch.Generator().manual_seed(seed)
    variance = variances(subject.model, subject.means, few.prompts)
    node_sets = draw_nodes(subject, variance, budget.random_sets, generator)
    edge_sets = draw_edges(subject, variance, budget.random_sets if claim.edges else 0, generator)
    nodes_null = _Null.of(
        few.without_circuit.loss, few.without_nodes(node_sets), [*map(_size, node_sets)], claim.n_nodes
    )
    edges_null = _Null.of(
        few.without_its_edges.loss, few.without_edges(edge_sets, progress), [*map(len, edge_sets)], len(claim.edges)
    )
    by_nodes = _needed(whole.without_circuit, nodes_null.p)
    by_edges = _needed(whole.without_its_edges, edges_null.p) if claim.edges else True
    nodes, edges = few.single_nodes(budget.nodes, seed), few.single_edges(budget.edges, seed)
    return Necessity(
        passed=False if False in (by_nodes, by_edges) else None if None in (by_nodes, by_edges) else True,
        threshold=f"without the nodes, and without the edges: accuracy at most {percent(ACCURACY)} or at most "
        f"{percent(TRACE)} of the difference left, exact p against random sets at most {P_VALUE}",
        sentence=_sentence(claim, whole, nodes_null, edges_null),
        n_pairs=material.test.n_pairs,
        model_loss=whole.intact.loss,
        nodes_loss=whole.without_circuit.loss,
        nodes_accuracy=whole.without_circuit.accuracy,
        nodes_left=whole.without_circuit.left,
        edges_loss=whole.without_its_edges.loss,
        edges_accuracy=whole.without_its_edges.accuracy,
        edges_left=whole.without_its_edges.left,
        n_null_pairs=few.prompts.n_pairs,
        random_losses=nodes_null.losses,
        random_mean=mean(nodes_null.losses),
        random_largest=max(nodes_null.losses, default=None),
        nodes_z=nodes_null.z,
        nodes_p=nodes_null.p,
        random_edges_losses=edges_null.losses,
        edges_z=edges_null.z,
        edges_p=edges_null.p,
        variance_ratio=_variance_ratio(claim.nodes, node_sets, variance),
        n_missing=nodes_null.n_missing,
        n_missing_edges=edges_null.n_missing,
        nodes=nodes,
        edges=edges,
        n_articulation_nodes=sum(removal.articulation for removal in nodes),
        n_articulation_edges=sum(removal.articulation for removal in edges),
    )


@dataclass(frozen=True)
class _Measured:
    """The whole model under one removal."""

    loss: float
    accuracy: float
    left: float
    """Share of its difference without any."""

    @property
    def broken(self) -> bool:
        return self.accuracy <= ACCURACY or self.left <= TRACE


def _needed(removed: _Measured, p: float | None) -> bool | None:
    """Whether a removal breaks the task as no random one does; None where there is nothing to hold it against."""
    if not removed.broken:
        return False
    return None if p is None else p <= P_VALUE


class _Removals:
    """The whole model without the circuit, or without other things, on some prompts."""

    def __init__(self, subject: Subject, prompts: Prompts) -> None:
        self.subject, self.model, self.prompts = subject, subject.model, prompts
        claim, means = subject.claim, subject.means
        whole = logit_difference(self.model, prompts)
        self.favour = float((whole * prompts.sign).mean())
        self.intact = self._measured(whole)
        self.without_circuit = self.measure(ablate(self.model, claim.nodes, means))
        self.without_its_edges = self.measure(edges=remove_edges(self.model, claim.edges, means))

    def measure(self, hook: Hook = identity, edges: Edges | None = None) -> _Measured:
        """The whole model under an intervention."""
        return self._measured(logit_difference(self.model, self.prompts, hook, edges))

    def _measured(self, difference: Float[Tensor, " P"]) -> _Measured:
        sign = self.prompts.sign
        left = float((difference * sign).mean()) / self.favour if self.favour > 0 else 1.0
        return _Measured(float(task_loss(difference, sign)), task_accuracy(difference, sign), left)

    def without_nodes(self, sets: Sequence[Nodes]) -> list[float]:
        """Loss without each set."""
        return losses(replace_in_model(self.model, self.prompts, sets, self.subject.means), self.prompts)

    def without_edges(self, sets: Sequence[Sequence[Edge]], progress: Progress) -> list[float]:
        """Loss without each set."""
        found = []
        with progress(f"necessity {self.subject.claim.task}", total=len(sets), unit="set") as advance:
            for edges in sets:
                found.append(self.measure(edges=remove_edges(self.model, edges, self.subject.means)).loss)
                advance(1)
        return found

    def single_nodes(self, n: int, seed: int) -> list[Removal]:
        """Up to `n` of the circuit's nodes, removed one at a time, from the model and from the circuit."""
        chosen = sample(list_nodes(self.subject.claim.nodes), n, seed)
        variants, means, prompts = single(chosen), self.subject.means, self.prompts
        in_model = replace_in_model(self.model, prompts, variants, means)
        in_circuit = losses(replace_in_circuit(self.subject.alone(prompts), variants, means), prompts)
        rows = zip(chosen, losses(in_model, prompts), accuracies(in_model, prompts), in_circuit, strict=True)
        return _worst_first(
            Removal(node_key(site, channel), loss, accuracy, alone, accuracy <= ACCURACY)
            for (site, channel), loss, accuracy, alone in rows
        )

    def single_edges(self, n: int, seed: int) -> list[Removal]:
        """Up to `n` of the circuit's edges, removed one at a time from the model."""
        found = []
        for edge in sample(self.subject.claim.edges, n, seed):
            removed = self.measure(edges=remove_edges(self.model, [edge], self.subject.means))
            found.append(Removal(edge_name(edge), removed.loss, removed.accuracy, None, removed.accuracy <= ACCURACY))
        return _worst_first(found)


def _worst_first(removals: Iterable[Removal]) -> list[Removal]:
    return sorted(removals, key=lambda removal: -removal.model_loss)


@dataclass(frozen=True)
class _Null:
    """Losses without random sets, and where the circuit's own stands among them."""

    losses: list[float]
    p: float | None
    z: float | None
    n_missing: int

    @classmethod
    def of(cls, observed: float, losses: list[float], sizes: list[int], wanted: int) -> "_Null":
        n_missing = wanted - min(sizes) if sizes else wanted
        if too_few(sizes, wanted):
            return cls(losses, None, None, n_missing)
        return cls(losses, p_value(observed, losses), z_score(observed, losses), n_missing)


def _size(nodes: Nodes) -> int:
    return sum(map(len, nodes.values()))


def _variance_ratio(nodes: Nodes, drawn: Sequence[Nodes], variance: Variances) -> float | None:
    def total(of: Nodes) -> float:
        return float(sum(float(variance[site][list(channels)].sum()) for site, channels in of.items()))

    own = total(nodes)
    return median(map(total, drawn)) / own if own and drawn else None


def _sentence(claim: Claim, whole: _Removals, nodes: _Null, edges: _Null) -> str:
    said = (
        f"Without its {claim.n_nodes} nodes the model's loss goes from {whole.intact.loss:.3f} to "
        f"{_words(whole.without_circuit)}, {_said(nodes, claim.n_nodes)})"
    )
    if claim.edges:
        said += (
            f"; without its {len(claim.edges)} edges to {_words(whole.without_its_edges)}, "
            f"{_said(edges, len(claim.edges))})."
        )
    else:
        said += "; the circuit has no edges to remove."
    if nodes.losses:
        said += f" Random sets of nodes: {fmean(nodes.losses):.3f} on average, {max(nodes.losses):.3f} at most."
    return said


def _words(removed: _Measured) -> str:
    return f"{removed.loss:.3f} (right on {percent(removed.accuracy)}, {percent(removed.left)} of the difference left"


def _said(null: _Null, wanted: int) -> str:
    if null.p is not None:
        return f"p = {null.p:.3f}"
    if len(null.losses) < MIN_SETS:
        return f"no p: {len(null.losses)} random sets are fewer than the {MIN_SETS} that it takes"
    return f"no p: outside the circuit there are only {wanted - null.n_missing} of {wanted} to draw for a random set"
