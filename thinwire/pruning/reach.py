"""Nodes on a path from a token to an answer, by the edges that are kept.

Paths run along the residual stream (what writes a channel is read by every later kept read of it), along kept edges,
and through heads: queries and keys act where any kept value of their head is written out.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping

from thinwire.circuits.graph import Edge
from thinwire.model.nodes import Nodes, NodeSpace
from thinwire.model.sites import EMBED, FINAL, RESIDUAL_SITES, head_of, is_in_head, is_read, is_write, part_of

Node = tuple[str, int]


def on_a_path(space: NodeSpace, nodes: Nodes, edges: Iterable[Edge]) -> dict[str, list[int]]:
    """The nodes that lie on a path, and all of `embed` and `final`, which stand for tokens and answers."""
    after = _next_nodes(space, nodes, edges)
    before: dict[Node, set[Node]] = defaultdict(set)
    for source, targets in after.items():
        for target in targets:
            before[target].add(source)
    down = _reached({(EMBED, channel) for channel in nodes.get(EMBED, ())}, after)
    up = _reached({(FINAL, channel) for channel in nodes.get(FINAL, ())}, before)
    kept = {
        site: [c for c in channels if site in (EMBED, FINAL) or {(site, c)} <= down & up]
        for site, channels in nodes.items()
    }
    return {site: channels for site, channels in kept.items() if channels}


def _next_nodes(space: NodeSpace, nodes: Nodes, edges: Iterable[Edge]) -> Mapping[Node, set[Node]]:
    """Node -> the nodes that it acts on directly."""
    after: dict[Node, set[Node]] = defaultdict(set)
    written: dict[int, list[Node]] = defaultdict(list)
    for site in space.sites:
        stays = part_of(site) in RESIDUAL_SITES
        for channel in nodes.get(site, ()):
            if stays or is_read(site):
                for source in written[channel]:
                    after[source].add((site, channel))
            if stays or is_write(site):
                written[channel].append((site, channel))
    heard: dict[tuple[int, int], set[Node]] = defaultdict(set)
    for edge in edges:
        after[edge.source_site, edge.source].add((edge.target_site, edge.target))
        if part_of(edge.source_site) == "attn.v":
            head = head_of(edge.source_site, edge.source, space.config.d_head)
            heard[head].add((edge.target_site, edge.target))
    for site, channels in nodes.items():
        if is_in_head(site) and part_of(site) != "attn.v":
            for channel in channels:
                after[site, channel] |= heard[head_of(site, channel, space.config.d_head)]
    return after


def _reached(start: set[Node], steps: Mapping[Node, set[Node]]) -> set[Node]:
    seen, queue = set(start), deque(start)
    while queue:
        for node in steps.get(queue.popleft(), ()):
            if node not in seen:
                seen.add(node)
                queue.append(node)
    return seen
