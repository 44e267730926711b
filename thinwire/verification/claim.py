"""What verification needs to know of a circuit, whoever found it: which nodes, which edges, what they should reach."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from thinwire.circuits.ablation import widths
from thinwire.circuits.edges import induced_edges
from thinwire.circuits.graph import Circuit, Edge
from thinwire.errors import CorruptFile, UserError
from thinwire.model.checkpoint import fingerprint
from thinwire.model.gpt import GPT
from thinwire.model.sites import edge_matrices

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
        )


def read_claim(values: dict[str, Any], model: GPT) -> Claim:
    """The claim of any circuit.json that has at least `REQUIRED`.

    Without `edges` (or `minimal_edges`) all nonzero weights between the nodes count. Raises `CorruptFile` when a key is
    missing, `UserError` when a site or channel is not one of the model's.
    """
    if missing := [name for name in REQUIRED if name not in values]:
        raise CorruptFile(f"circuit.json lacks {', '.join(missing)}; docs/verification.md lists what it needs")
    nodes = {site: sorted(set(channels)) for site, channels in values["nodes"].items() if channels}
    check_nodes(model, nodes)
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
    )


def check_nodes(model: GPT, nodes: dict[str, list[int]]) -> None:
    """Raises `UserError` when a site or channel is not one of the model's."""
    known = widths(model)
    for site, channels in nodes.items():
        if site not in known:
            raise UserError(f"circuit.json names the site {site!r}, which this model lacks; it has {', '.join(known)}")
        if channels[0] < 0 or channels[-1] >= known[site]:
            raise UserError(f"circuit.json names channel {channels[-1]} of {site}, which has {known[site]} channels")


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
    names = {ends: name for name, ends in edge_matrices(model.config.n_layer).items()}
    if (source_site, target_site) not in names:
        raise UserError(f"circuit.json has an edge from {source_site} to {target_site}; no weight matrix leads there")
    matrix = model.get_parameter(names[source_site, target_site])
    if not (0 <= target < matrix.shape[0] and 0 <= source < matrix.shape[1]):
        raise UserError(f"circuit.json has the edge {values[:4]}, which lies outside the matrix {list(matrix.shape)}")
    return Edge(source_site, source, target_site, target, float(matrix[target, source]))
