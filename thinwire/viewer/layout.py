"""Where everything in a circuit's drawing stands.

Rows are layer x site, the embedding at the bottom, the two answers on top; a head's q, k and v
channels share one row and one box. Residual channels are columns: a channel has the same x in
every row that reads or writes it. All positions are in pixels, y grows downwards.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from thinwire.circuits.graph import Circuit
from thinwire.errors import UserError
from thinwire.model.sites import head_of, is_in_head, is_residual, is_write, node_key
from thinwire.viewer.ordering import Block, Links, arrange
from thinwire.viewer.rows import HEAD_PARTS, row_heights, row_key, row_keys

_LEFT, _TOP, _SIDE = 128.0, 46.0, 14.0
_PLOT = 600.0
_BELOW = 34.0
"""Pixels under the embedding row, for the words of its channels."""
_BOX_PAD, _GROUP_GAP = 0.5, 0.35


@dataclass(frozen=True)
class Node:
    """One kept channel."""

    site: str
    channel: int
    row: int
    x: float
    y: float

    @property
    def key(self) -> str:
        """`site:channel`, the name of a node in every artefact."""
        return node_key(self.site, self.channel)


@dataclass(frozen=True)
class Edge:
    """One nonzero weight; `source` and `target` index `Layout.nodes`."""

    source: int
    target: int
    weight: float


@dataclass(frozen=True)
class ResidualLink:
    """A residual channel from its first kept write to the last kept read above it; it carries no weight."""

    channel: int
    x: float
    y_bottom: float
    y_top: float


@dataclass(frozen=True)
class HeadBox:
    """The kept q, k and v channels of one head."""

    layer: int
    head: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Row:
    """One row; `key` is a site, or `L.attn.qkv`, or `answers`."""

    key: str
    y: float
    n_nodes: int


@dataclass(frozen=True)
class Answer:
    text: str
    x: float
    y: float


@dataclass(frozen=True)
class Layout:
    """Positions of one drawing; `rows` run from the bottom to the top."""

    width: float
    height: float
    slot: float
    """Pixels between neighbouring nodes of a full row."""
    left: float
    """Where the columns begin; row labels stand left of it."""
    rows: tuple[Row, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    residual_links: tuple[ResidualLink, ...]
    heads: tuple[HeadBox, ...]
    answers: tuple[Answer, ...]

    def row(self, key: str) -> Row:
        return next(row for row in self.rows if row.key == key)


def _named_nodes(circuit: Circuit, n_layer: int) -> list[tuple[str, int]]:
    """(site, channel) in drawing order: row by row, then site, then channel."""
    rank = {key: index for index, key in enumerate(row_keys(n_layer))}
    sites = list(circuit.nodes)
    for site in sites:
        if row_key(site) not in rank:
            raise UserError(f"the circuit has a site {site} that {n_layer} layers do not have; check n_layer")
    sites.sort(key=lambda site: (rank[row_key(site)], "qkv".find(site[-1])))
    return [(site, int(channel)) for site in sites for channel in sorted(circuit.nodes[site])]


def _edges(circuit: Circuit, index: Mapping[tuple[str, int], int]) -> tuple[Edge, ...]:
    try:
        return tuple(Edge(index[a, int(s)], index[b, int(t)], float(w)) for a, s, b, t, w in circuit.edges)
    except KeyError as error:
        raise UserError(f"an edge names the node {error}, which the circuit does not keep; prune again") from None


def _blocks(named: Sequence[tuple[str, int]], row: str, d_head: int) -> list[Block]:
    """Neurons of a row one by one, or its heads."""
    members = [(i, site, channel) for i, (site, channel) in enumerate(named) if row_key(site) == row]
    if not row.endswith(".qkv"):
        return [Block(((i,),), 1.0) for i, _, _ in members]
    heads: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i, site, channel in members:
        heads[channel // d_head][site[-1]].append(i)
    blocks = []
    for head in sorted(heads):
        groups = tuple(tuple(heads[head][part]) for part in HEAD_PARTS if heads[head][part])
        n = sum(len(group) for group in groups)
        blocks.append(Block(groups, n + _GROUP_GAP * (len(groups) - 1) + _BOX_PAD, _GROUP_GAP))
    return blocks


def _residual_links(nodes: Sequence[Node]) -> tuple[ResidualLink, ...]:
    columns: dict[int, list[Node]] = defaultdict(list)
    for node in nodes:
        if is_residual(node.site):
            columns[node.channel].append(node)
    links = []
    for channel in sorted(columns):
        writes = [n for n in columns[channel] if is_write(n.site)]
        reads = [n for n in columns[channel] if not is_write(n.site)]
        first = min(writes, key=lambda n: n.row, default=None)
        last = max(reads, key=lambda n: n.row, default=None)
        if first and last and first.row < last.row:
            links.append(ResidualLink(channel, first.x, first.y, last.y))
    return tuple(links)


def _head_boxes(nodes: Sequence[Node], d_head: int, slot: float) -> tuple[HeadBox, ...]:
    heads: dict[tuple[int, int], list[Node]] = defaultdict(list)
    for node in nodes:
        if is_in_head(node.site):
            heads[head_of(node.site, node.channel, d_head)].append(node)
    boxes, pad = [], (1 + _BOX_PAD * 0.7) / 2 * slot
    for (layer, head), members in sorted(heads.items()):
        low, high = min(n.x for n in members) - pad, max(n.x for n in members) + pad
        boxes.append(HeadBox(layer, head, low, members[0].y - 27.0, high - low, 41.0))
    return tuple(boxes)


def _positions(named: Sequence[tuple[str, int]], edges: Sequence[Edge], d_head: int) -> tuple[np.ndarray, float]:
    columns: dict[int, list[int]] = defaultdict(list)
    for i, (site, channel) in enumerate(named):
        if is_residual(site):
            columns[channel].append(i)
    rows = dict.fromkeys(row_key(site) for site, _ in named if not is_residual(site))
    blocks = [_blocks(named, row, d_head) for row in rows]
    ends = np.array([(e.source, e.target) for e in edges], dtype=np.int64).reshape(-1, 2)
    links = Links(ends[:, 0], ends[:, 1], np.abs([e.weight for e in edges]))
    return arrange([columns[c] for c in sorted(columns)], blocks, links, len(named))


def layout(circuit: Circuit, n_layer: int, d_head: int) -> Layout:
    """Positions for the drawing of one circuit.

    The same circuit always gives the same layout. Raises `UserError` if a site does not belong to
    `n_layer` layers or an edge names a node that is not kept.
    """
    named = _named_nodes(circuit, n_layer)
    edges = _edges(circuit, {name: i for i, name in enumerate(named)})
    x, width = _positions(named, edges, d_head)
    slot = float(np.clip(_PLOT / width, 11.0, 54.0))
    plot = max(width * slot, 400.0)
    left = _LEFT + _SIDE + (plot - width * slot) / 2
    keys = row_keys(n_layer)
    filled = {key: sum(row_key(site) == key for site, _ in named) for key in keys}
    heights = row_heights(keys, filled)
    top = _TOP + heights["answers"]
    rank = {key: index for index, key in enumerate(keys)}
    nodes = tuple(
        Node(site, channel, rank[row_key(site)], left + slot * float(at), top - heights[row_key(site)])
        for (site, channel), at in zip(named, x, strict=True)
    )
    middle = _LEFT + _SIDE + plot / 2
    spots = (middle - 80, middle + 80)
    return Layout(
        width=_LEFT + 2 * _SIDE + plot,
        height=top + _BELOW,
        slot=slot,
        left=_LEFT,
        rows=tuple(Row(key, top - heights[key], filled[key]) for key in keys),
        nodes=nodes,
        edges=edges,
        residual_links=_residual_links(nodes),
        heads=_head_boxes(nodes, d_head, slot),
        answers=tuple(Answer(answer, spot, _TOP) for answer, spot in zip(circuit.answer_texts, spots, strict=True)),
    )
