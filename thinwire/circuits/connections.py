"""A circuit as a graph that leads from tokens to answers: rows, and networkx where it is installed.

    token, position -> embed          embedding weights
    in -> q, k, v; v -> out; ...      the circuit's edges, each with its weight
    q, k -> out                       through the pattern: to what the head's kept values write; no weight
    embed, out -> in, final           one channel of the residual stream, from a write to every later read; no weight
    final -> answer                   unembedding weights

Left out is what every model has beside its circuit: biases, norms, the bigram table.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from jaxtyping import Int
from torch import Tensor

from thinwire.circuits.graph import Circuit, Edge
from thinwire.errors import MissingExtra
from thinwire.model.gpt import GPT
from thinwire.model.nodes import Nodes, NodeSpace, list_nodes
from thinwire.model.sites import EMBED, FINAL, RESIDUAL_SITES, head_of, is_in_head, is_read, is_write, node_key, part_of

if TYPE_CHECKING:
    import networkx

NodeKind = Literal["token", "position", "node", "answer"]
LinkKind = Literal["embed", "position", "edge", "attention", "residual", "unembed"]
SOURCES: tuple[NodeKind, ...] = ("token", "position")


@dataclass(frozen=True)
class GraphNode:
    """One row of nodes; what does not apply is None."""

    id: str
    """`0.mlp.neuron:412`, `token:17`, `position:3`, `answer:5`."""
    kind: NodeKind
    text: str
    """What to call it: a token's or answer's text, else the id."""
    site: str | None = None
    channel: int | None = None
    token: int | None = None


@dataclass(frozen=True)
class Link:
    """One row of links between nodes, by their ids."""

    source: str
    target: str
    kind: LinkKind
    weight: float | None = None
    """The model's weight; None where the link carries none."""


@dataclass(frozen=True)
class CircuitGraph:
    """Nodes in the order of the forward pass, and the links between them."""

    nodes: tuple[GraphNode, ...]
    links: tuple[Link, ...]

    @cached_property
    def idle(self) -> list[str]:
        """Ids of nodes that lie on no path from a token or position to an answer."""
        after, before = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
        for link in self.links:
            after[link.source].add(link.target)
            before[link.target].add(link.source)
        down = _reached([node.id for node in self.nodes if node.kind in SOURCES], after)
        up = _reached([node.id for node in self.nodes if node.kind == "answer"], before)
        return [node.id for node in self.nodes if node.id not in down & up]

    def networkx(self) -> "networkx.DiGraph":
        """The same, rows' fields as attributes, absent ones left out. Raises `MissingExtra` without networkx."""
        try:
            import networkx
        except ImportError:
            raise MissingExtra("a graph of networkx needs networkx", "graph", "networkx") from None
        graph = networkx.DiGraph()
        for node in self.nodes:
            graph.add_node(node.id, **_present(asdict(node), "id"))
        for link in self.links:
            graph.add_edge(link.source, link.target, **_present(asdict(link), "source", "target"))
        return graph


def connect(
    model: GPT,
    circuit: Circuit,
    tokens: Int[Tensor, " tokens"],
    longest: int,
    token_text: Callable[[int], str],
    edges: Iterable[Edge],
) -> CircuitGraph:
    """The graph of a circuit with the given `edges`; its sources are `tokens` and, where the model has a positional
    embedding, the first `longest` positions. Sources that no weight leads from are left out."""
    space, edges = model.space, list(edges)
    links = [
        *_embedded(model, circuit.nodes, sorted(tokens.unique().tolist()), longest),
        *(Link(node_key(e.source_site, e.source), node_key(e.target_site, e.target), "edge", e.weight) for e in edges),
        *_through_patterns(space, circuit.nodes, edges),
        *stream_links(space.sites, circuit.nodes),
        *_unembedded(model, circuit),
    ]
    sources = dict.fromkeys(link.source for link in links if link.kind in ("embed", "position"))
    found = [_source(key, token_text) for key in sources]
    found += [
        GraphNode(key := node_key(site, channel), "node", key, site, channel)
        for site, channel in list_nodes({site: circuit.nodes[site] for site in space.sites if site in circuit.nodes})
    ]
    found += [
        GraphNode(f"answer:{token}", "answer", text, token=token)
        for token, text in zip(circuit.answer_tokens, circuit.answer_texts, strict=True)
    ]
    return CircuitGraph(tuple(found), tuple(links))


def _source(key: str, token_text: Callable[[int], str]) -> GraphNode:
    kind, _, number = key.partition(":")
    if kind == "token":
        return GraphNode(key, "token", token_text(int(number)), token=int(number))
    return GraphNode(key, "position", key)


def _embedded(model: GPT, nodes: Nodes, tokens: list[int], longest: int) -> Iterator[Link]:
    channels = list(nodes.get(EMBED, ()))
    yield from _nonzero(model.embed.weight[tokens][:, channels], "token", tokens, "embed", EMBED, channels)
    if model.positions is None:
        return
    table, places = model.positions.weight[:longest], list(range(longest))
    if not model.config.variant.d_positions:
        yield from _nonzero(table[:, channels], "position", places, "position", EMBED, channels)
        return
    width = model.config.d_model
    for site in filter(lambda site: is_read(site) and site != FINAL, nodes):
        read = [channel for channel in nodes[site] if channel >= width]
        for link in _nonzero(table[:, [c - width for c in read]], "position", places, "position", site, read):
            yield Link(link.source, link.target, "position")  # normed on the way: no weight of one number


def _nonzero(
    weights: Tensor, source: str, ids: list[int], kind: LinkKind, site: str, channels: list[int]
) -> Iterator[Link]:
    for row, column in weights.nonzero().tolist():
        yield Link(f"{source}:{ids[row]}", node_key(site, channels[column]), kind, float(weights[row, column]))


def _through_patterns(space: NodeSpace, nodes: Nodes, edges: Iterable[Edge]) -> Iterator[Link]:
    written: dict[tuple[int, int], dict[str, None]] = defaultdict(dict)
    for edge in edges:
        if part_of(edge.source_site) == "attn.v":
            head = head_of(edge.source_site, edge.source, space.config.d_head)
            written[head][node_key(edge.target_site, edge.target)] = None
    for site, channel in list_nodes(nodes):
        if is_in_head(site) and part_of(site) != "attn.v":
            for target in written[head_of(site, channel, space.config.d_head)]:
                yield Link(node_key(site, channel), target, "attention")


def stream_links(sites: Iterable[str], nodes: Nodes) -> Iterator[Link]:
    """Channels of the residual stream, each write with every later read; `sites` in the order of the forward pass."""
    written: dict[int, list[str]] = defaultdict(list)
    for site in sites:
        stays = part_of(site) in RESIDUAL_SITES
        for channel in nodes.get(site, ()):
            if stays or is_read(site):
                yield from (Link(key, node_key(site, channel), "residual") for key in written[channel])
            if stays or is_write(site):
                written[channel].append(node_key(site, channel))


def _unembedded(model: GPT, circuit: Circuit) -> Iterator[Link]:
    channels = list(circuit.nodes.get(FINAL, ()))
    weights = model.unembed.weight[list(circuit.answer_tokens)][:, channels]
    for row, column in weights.T.nonzero().tolist():
        answer = f"answer:{circuit.answer_tokens[column]}"
        yield Link(node_key(FINAL, channels[row]), answer, "unembed", float(weights[column, row]))


def _reached(start: list[str], steps: Mapping[str, set[str]]) -> set[str]:
    seen, stack = set(start), list(start)
    while stack:
        for node in steps.get(stack.pop(), set()) - seen:
            seen.add(node)
            stack.append(node)
    return seen


def _present(row: dict[str, object], *without: str) -> dict[str, object]:
    return {name: value for name, value in row.items() if value is not None and name not in without}
