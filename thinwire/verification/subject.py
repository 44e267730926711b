"""The subject of every test: a claim about a model, and what stands in for removed nodes."""

from dataclasses import dataclass
from functools import cached_property

from thinwire.circuits.ablation import Means
from thinwire.circuits.edges import induced_edges
from thinwire.circuits.graph import Edge
from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.circuits.prompts import Prompts
from thinwire.model.gpt import GPT
from thinwire.verification.claim import Claim


@dataclass(frozen=True)
class Subject:
    """What is judged."""

    model: GPT
    claim: Claim
    means: Means
    """What stands in for removed nodes."""

    @cached_property
    def unstated(self) -> tuple[Edge, ...]:
        """Nonzero weights between the circuit's nodes that the claim does not list: no edges of the circuit."""
        stated = {edge[:4] for edge in self.claim.edges}
        return tuple(edge for edge in induced_edges(self.model, self.claim.nodes) if edge[:4] not in stated)

    def alone(self, prompts: Prompts) -> IsolatedCircuit:
        """The circuit as it is stated, alone on these prompts: its nodes, its edges, its RMSNorm scales."""
        claim = self.claim
        return IsolatedCircuit(self.model, claim.nodes, self.means, prompts, self.unstated, claim.norm_scales)
