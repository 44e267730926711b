"""Interchange interventions: does a node do in the whole model what it does in the circuit?

The two sides of a pair need opposite answers. A node's activations are replaced by those that it has on the other
side, position by position, once in the pruned circuit and once in the whole model (`patching`).
Source: interchange interventions, Geiger et al. 2021; Drori 2026 for their use against pruned circuits.
"""

from dataclasses import dataclass

from thinwire.circuits.graph import Edge
from thinwire.model.nodes import Nodes, list_nodes
from thinwire.model.sites import node_key
from thinwire.progress import Progress, silent
from thinwire.storage.records import Correlation, Count, Number, Ratio, Share
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import correlation, edge_name, percent
from thinwire.verification.patching import AGREE, Agreement, other_sides, patch_circuit, patch_model, require_aligned
from thinwire.verification.subject import Subject
from thinwire.verification.variants import sample, single

CARRIED = 0.5
THRESHOLD = f"{AGREE}; all nodes together carry {percent(CARRIED)} in the whole model"


@dataclass(frozen=True)
class PatchEffect:
    """One node's, or one edge's two ends', effect as a share of the whole way."""

    name: str
    circuit: Number
    model: Number
    prompt_correlation: Correlation | None
    """Correlation over prompts of the shift of the difference; None where one of the two does not vary."""

    @property
    def size(self) -> float:
        return max(abs(self.circuit), abs(self.model))


@dataclass(frozen=True, kw_only=True)
class Interchange(Finding):
    nodes: list[PatchEffect]
    """Largest effect first."""
    pairs: list[PatchEffect]
    """Both ends of an edge patched together."""
    n_matter: Count
    same_sign: Share | None
    """Share of the nodes that matter; None when none does."""
    correlation: Correlation | None
    error: Ratio | None
    """Sum of |circuit - model| over sum of |model|, over the nodes that matter."""
    pairs_error: Ratio | None
    carried: Number
    """Effect of all the circuit's nodes patched at once into the whole model."""


def interchange(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Interchange:
    """Patch nodes and edges one at a time, in the circuit and in the model.

    Raises `NotRun` when the two sides of a pair have different lengths.
    """
    claim, prompts = subject.claim, material.test_pairs(budget.pairs)
    require_aligned(prompts, claim.task)
    nodes = sample(list_nodes(claim.nodes), budget.nodes, seed)
    edges = sample(claim.edges, budget.edges, seed)
    variants: list[Nodes] = [*single(nodes), *map(_ends, edges)]
    circuit = patch_circuit(subject.alone(prompts), variants, other_sides(prompts)).effects()
    *whole, together = patch_model(subject.model, prompts, [*variants, claim.nodes], other_sides(prompts)).effects()
    names = [node_key(site, channel) for site, channel in nodes] + [edge_name(edge) for edge in edges]
    effects = [
        PatchEffect(name, float(c.mean()), float(m.mean()), correlation(c, m))
        for name, c, m in zip(names, circuit, whole, strict=True)
    ]
    return _judge(effects[: len(nodes)], effects[len(nodes) :], float(together.mean()), prompts.n_pairs)


def _ends(edge: Edge) -> dict[str, list[int]]:
    return {edge.source_site: [edge.source], edge.target_site: [edge.target]}


def _judge(nodes: list[PatchEffect], pairs: list[PatchEffect], carried: float, n_pairs: int) -> Interchange:
    agreement, of_pairs = _agreement(nodes), _agreement(pairs)
    together = f"all nodes patched together carry {percent(carried)} of the way in the whole model"
    if agreement.n_matter:
        said = (
            f"Of {len(nodes)} nodes patched from the other side {agreement.n_matter} matter; circuit and model agree "
            f"on these: {agreement.words()}; {together}."
        )
    else:
        said = f"None of {len(nodes)} patched nodes moves the answer, in the circuit or in the model; {together}."
    return Interchange(
        passed=agreement.holds and carried >= CARRIED,
        threshold=THRESHOLD,
        sentence=said,
        n_pairs=n_pairs,
        nodes=sorted(nodes, key=lambda effect: -effect.size),
        pairs=sorted(pairs, key=lambda effect: -effect.size),
        n_matter=agreement.n_matter,
        same_sign=agreement.same_sign,
        correlation=agreement.correlation,
        error=agreement.error,
        pairs_error=of_pairs.error,
        carried=carried,
    )


def _agreement(effects: list[PatchEffect]) -> Agreement:
    return Agreement.of([effect.circuit for effect in effects], [effect.model for effect in effects])
