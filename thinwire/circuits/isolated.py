"""A circuit alone on a batch of prompts: the one place that says what running a circuit means.

Nodes outside are held at their stand-ins, edges that the circuit does not state carry their source's stand-in, and
RMSNorm scales are the circuit's own or the whole model's, as the circuit was found. Scores, pages, live requests,
effects and verification all run circuits through this.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.ablation import Means, isolate, remove_edges
from thinwire.circuits.graph import Circuit, Edge
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.circuits.scales import freeze_scales, record_scales
from thinwire.circuits.score import last_logits
from thinwire.errors import UserError
from thinwire.model.gpt import GPT
from thinwire.model.hooks import EdgeMask, Hook, compose, identity
from thinwire.model.nodes import Nodes

EdgeKind = Literal["induced", "minimal"]
"""All weights between a circuit's nodes, or those that an edge sweep left."""
NormScales = Literal["own", "whole"]
"""RMSNorm scales inside a circuit: those of its own residual stream, or the whole model's on the same prompt."""


@dataclass(frozen=True)
class IsolatedCircuit:
    """A circuit alone on one batch of prompts."""

    model: GPT
    nodes: Nodes
    means: Means
    prompts: Prompts
    removed: tuple[Edge, ...] = ()
    """Weights between the nodes that are no edges of the circuit."""
    norm_scales: NormScales = "own"

    @cached_property
    def norms(self) -> Hook:
        """Gives the circuit its RMSNorm scales, on its prompts and on copies of them."""
        own = self.norm_scales == "own"
        return identity if own else freeze_scales(record_scales(self.model, self.prompts))

    @cached_property
    def hook(self) -> Hook:
        """The first argument of the forward pass that runs the circuit."""
        return compose(isolate(self.model, self.nodes, self.means), self.norms)

    @cached_property
    def edges(self) -> dict[str, EdgeMask]:
        """The second one."""
        return remove_edges(self.model, self.removed, self.means)

    def on(self, prompts: Prompts) -> "IsolatedCircuit":
        """The same circuit on other prompts."""
        return replace(self, prompts=prompts)

    def without(self, nodes: Iterable[tuple[str, int]] = (), edges: Iterable[Edge] = ()) -> "IsolatedCircuit":
        """The same circuit with some of its (site, channel) pairs and edges taken out as well."""
        less = replace(self, nodes=without(self.nodes, nodes), removed=(*self.removed, *edges))
        vars(less)["norms"] = self.norms  # of the whole model on the same prompts, whatever is taken out
        return less

    @torch.no_grad()
    def difference(self) -> Float[Tensor, " P"]:
        """logit(answer) - logit(other) of every prompt."""
        return logit_difference(self.model, self.prompts, self.hook, self.edges)

    def logits(self) -> Float[Tensor, "P V"]:
        """Logits over the whole vocabulary at the last token of every prompt."""
        return last_logits(self.model, self.prompts, self.hook, self.edges)


def without(nodes: Nodes, removed: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """`nodes` less the given (site, channel) pairs."""
    gone: dict[str, set[int]] = defaultdict(set)
    for site, channel in removed:
        gone[site].add(channel)
    return {site: [c for c in channels if c not in gone[site]] for site, channels in nodes.items()}


def isolate_circuit(
    model: GPT, circuit: Circuit, means: Means, prompts: Prompts, edges: EdgeKind = "induced"
) -> IsolatedCircuit:
    """One of our own circuits, with all induced or the minimal edges only, under the norms that it was found with.

    Raises `UserError` when it has no minimal edges and these are asked for.
    """
    return IsolatedCircuit(
        model,
        circuit.nodes,
        {site: mean.to(model.device) for site, mean in means.items()},
        prompts,
        removed_edges(circuit, edges),
        circuit.norm_scales,
    )


def removed_edges(circuit: Circuit, edges: EdgeKind) -> tuple[Edge, ...]:
    """Weights between a circuit's nodes that are no edges of it.

    Raises `UserError` when it has no minimal edges and these are asked for.
    """
    if edges == "minimal" and circuit.minimal_edges is None:
        raise UserError(f"no edges of the circuit of {circuit.task} were swept; prune it with: --sweep edges")
    stated = circuit.edges if edges == "induced" or circuit.minimal_edges is None else circuit.minimal_edges
    kept = {edge[:4] for edge in stated}
    return tuple(edge for edge in circuit.edges if edge[:4] not in kept)
