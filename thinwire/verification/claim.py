"""What verification needs to know of a circuit, whoever found it: which nodes, which edges, what they should reach."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from thinwire.circuits.edges import induced_edges
from thinwire.circuits.graph import Circuit, Edge
from thinwire.circuits.isolated import NormScales
from thinwire.errors import CorruptFile, UserError
from thinwire.model.checkpoint import fingerprint
from thinwire.model.gpt import GPT

TARGET_LOSS = 0.15
"""Loss that a circuit has to reach when its file does not say, nats (Gao et al. 2025, section 2.3)."""
REQUIRED = ("model_fingerprint", "task", "nodes")


EdgeKind = Literal["induced", "minimal", "listed"]
"""All nonzero weights between the nodes; those that a sweep of edges left; or what a circuit.json lists as `edges`."""


@dataclass(frozen=True)
class Claim:
    """`nodes` and `edges` do `task` in the model of this fingerprint, at this loss."""

    task: str
    model_fingerprint: str
    nodes: dict[str, list[int]]
    """Site -> channels, ascending."""
    edges: list[Edge]
    edge_kind: EdgeKind = "listed"
    target_loss: float = TARGET_LOSS
    status: str = "not stated"
    norm_scales: NormScales = "own"
    """RMSNorm scales inside the circuit."""

    @property
    def n_nodes(self) -> int:
        return sum(len(channels) for channels in self.nodes.values())

    @classmethod
    def of(cls, circuit: Circuit) -> "Claim":
        """The claim that one of our own circuits makes. Minimal edges where there are some, else induced."""
        swept = circuit.minimal_edges is not None
        return cls(
            circuit.task,
            circuit.model_fingerprint,
            circuit.nodes,
            circuit.edges if circuit.minimal_edges is None else circuit.minimal_edges,
            "minimal" if swept else "induced",
            circuit.target_loss,
            circuit.status,
            circuit.norm_scales,
        )


def read_claim(values: dict[str, Any], model: GPT) -> Claim:
    """The claim of any circuit.json that has at least `REQUIRED`.

    Without `edges` (or `minimal_edges`) all nonzero weights between the nodes count. Raises `CorruptFile` when a key is
    missing, `UserError` when a site or channel is not one of the model's.
    """
    if missing := [name for name in REQUIRED if name not in values]:
        raise CorruptFile(f"circuit.json lacks {', '.join(missing)}; docs/verification.md lists what it needs")
    nodes = {site: sorted(set(channels)) for site, channels in values["nodes"].items() if channels}
    model.space.check(nodes)
    minimal = values.get("minimal_edges")
    edges = values.get("edges") if minimal is None else minimal
    kind: EdgeKind = "minimal" if minimal is not None else "listed" if edges is not None else "induced"
    return Claim(
        task=values["task"],
        model_fingerprint=values["model_fingerprint"],
        nodes=nodes,
        edges=induced_edges(model, nodes) if edges is None else [_edge(edge, model) for edge in edges],
        edge_kind=kind,
        target_loss=float(values.get("target_loss", TARGET_LOSS)),
        status=values.get("status", "not stated"),
        norm_scales=values.get("norm_scales", "own"),
    )


def check_model(claim: Claim, model: GPT) -> None:
    """Raises `UserError` when the circuit was found in another model."""
    if (actual := fingerprint(model)) != claim.model_fingerprint:
        raise UserError(
            f"the circuit of {claim.task} belongs to model {claim.model_fingerprint[:12]}, this model is "
            f"{actual[:12]}; give the run that it was found in"
        )


def _edge(values: Sequence[Any], model: GPT) -> Edge:
    """[source site, source, target site, target], with the weight that the model has there."""
    source_site, source, target_site, target = values[:4]
    matrix = model.get_parameter(model.space.check_edge(source_site, source, target_site, target))
    return Edge(source_site, source, target_site, target, float(matrix[target, source]))
