"""What verification needs to know of a circuit, whoever found it: which nodes, which edges, what they should reach."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from thinwire.circuits.agreement import check_circuit, check_nodes, stated_edges
from thinwire.circuits.edges import induced_edges
from thinwire.circuits.graph import Circuit, Edge
from thinwire.circuits.isolated import NormScales
from thinwire.circuits.stated import TARGET_LOSS, StatedCircuit, read_stated
from thinwire.model.gpt import GPT

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
    scope: tuple[str, ...] = ()
    """Kinds of shifted prompts that the claim covers beside the task's own."""

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
            tuple(circuit.scope),
        )


def read_claim(values: Any, model: GPT, where: Path | str = "circuit.json") -> Claim:
    """`claim_of` what a circuit.json holds."""
    return claim_of(read_stated(values, where), model, where)


def claim_of(stated: Circuit | StatedCircuit, model: GPT, where: Path | str = "circuit.json") -> Claim:
    """The claim that a circuit makes, ours or another's.

    Without `edges` (or `minimal_edges`) all nonzero weights between the nodes count. Raises `CorruptFile` naming
    `where` for nodes or edges that the model does not have, edges of weight 0 included.
    """
    if isinstance(stated, Circuit):
        check_circuit(stated, model, where)
        return Claim.of(stated)
    nodes = {site: sorted(channels) for site, channels in stated.nodes.items() if channels}
    check_nodes(nodes, model.space, where)
    listed = stated.edges if stated.minimal_edges is None else stated.minimal_edges
    kind: EdgeKind = "induced" if listed is None else "listed" if stated.minimal_edges is None else "minimal"
    return Claim(
        task=stated.task,
        model_fingerprint=stated.model_fingerprint,
        nodes=nodes,
        edges=induced_edges(model, nodes) if listed is None else stated_edges(listed, nodes, model, where),
        edge_kind=kind,
        target_loss=stated.target_loss,
        status=stated.status,
        norm_scales=stated.norm_scales,
        scope=tuple(stated.scope),
    )
