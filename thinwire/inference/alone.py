"""A circuit alone, as decoding needs it: what each site lets through, and the weights that are no edges of it.

The same definition as `circuits.isolated`, from which it takes the nodes, the removed edges and the norms.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from thinwire.circuits.ablation import Means
from thinwire.circuits.graph import Circuit
from thinwire.circuits.isolated import EdgeKind, removed_edges
from thinwire.model.nodes import NodeSpace


@dataclass(frozen=True)
class Alone:
    """Nodes and edges of a circuit, everything else held at its stand-in."""

    is_open: Mapping[str, np.ndarray]
    """Node site -> which channels are the circuit's."""
    means: Mapping[str, np.ndarray]
    """Node site -> what stands in for the others."""
    removed: Mapping[str, list[tuple[int, int]]]
    """Matrix -> (target, source) of weights between the nodes that are no edges of the circuit."""
    own_scales: bool
    """Norms by the circuit's own residual stream, or by the whole model's on the same tokens."""


def circuit_alone(space: NodeSpace, circuit: Circuit, means: Means, edges: EdgeKind = "induced") -> Alone:
    """A circuit of a model of this shape. Raises `UserError` as `circuits.isolated.isolate_circuit` does."""
    removed: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for edge in removed_edges(circuit, edges):
        removed[space.check_edge(*edge[:4])].append((edge.target, edge.source))
    return Alone(
        {site: mask.numpy() for site, mask in space.masks(circuit.nodes).items()},
        {site: mean.float().cpu().numpy() for site, mean in means.items()},
        removed,
        circuit.norm_scales == "own",
    )
