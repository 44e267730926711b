"""Parts of a model: nodes, and the weights between them, as sets that can be joined and taken apart."""

from collections.abc import Iterable
from dataclasses import dataclass

from thinwire.circuits.graph import Edge
from thinwire.model.gpt import GPT
from thinwire.model.nodes import NodeSpace

Node = tuple[str, int]
"""(site, channel)."""
Wire = tuple[str, int, str, int]
"""(source site, source channel, target site, target channel): an edge without its weight."""


@dataclass(frozen=True)
class Parts:
    """A set of nodes and a set of wires between some of them."""

    nodes: frozenset[Node] = frozenset()
    wires: frozenset[Wire] = frozenset()

    @classmethod
    def of(cls, wires: Iterable[Wire] = (), nodes: Iterable[Node] = ()) -> "Parts":
        """The wires with both ends of each, and further nodes."""
        wires = frozenset(wires)
        ends = {wire[:2] for wire in wires} | {wire[2:] for wire in wires}
        return cls(frozenset(ends) | frozenset(nodes), wires)

    def __or__(self, other: "Parts") -> "Parts":
        return Parts(self.nodes | other.nodes, self.wires | other.wires)

    def without_node(self, node: Node) -> "Parts":
        """Less a node and the wires that end there."""
        return Parts(self.nodes - {node}, frozenset(w for w in self.wires if node not in (w[:2], w[2:])))

    def without_wire(self, wire: Wire) -> "Parts":
        """Less a wire; its ends stay."""
        return Parts(self.nodes, self.wires - {wire})

    def renamed(self, names: dict[Node, Node]) -> "Parts":
        """Other nodes in the place of some, wires moved along."""
        wires = {names.get(w[:2], w[:2]) + names.get(w[2:], w[2:]) for w in self.wires}
        return Parts(frozenset(names.get(node, node) for node in self.nodes), frozenset(wires))

    def by_site(self, space: NodeSpace) -> dict[str, list[int]]:
        """Site -> ascending channels, in the order of the forward pass."""
        found = {site: sorted(channel for at, channel in self.nodes if at == site) for site in space.sites}
        return {site: channels for site, channels in found.items() if channels}

    def edges(self, model: GPT) -> list[Edge]:
        """The wires with the weights that `model` has there, in the order of `induced_edges`."""
        rank = {name: i for i, name in enumerate(model.space.matrices)}
        found = [(model.space.check_edge(*wire), wire) for wire in self.wires]
        found.sort(key=lambda item: (rank[item[0]], item[1][3], item[1][1]))
        return [Edge(*wire, float(model.get_parameter(name)[wire[3], wire[1]])) for name, wire in found]
