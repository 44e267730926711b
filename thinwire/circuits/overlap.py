"""How alike circuits of one task are."""

from collections.abc import Sequence
from itertools import combinations

from thinwire.circuits.ablation import Nodes


def node_overlap(circuits: Sequence[Nodes]) -> float | None:
    """Mean over pairs of circuits of the share of their nodes that both have (Jaccard); None for fewer than two."""
    sets = [{(site, channel) for site, channels in nodes.items() for channel in channels} for nodes in circuits]
    pairs = list(combinations(sets, 2))
    if not pairs:
        return None
    return sum(len(a & b) / max(1, len(a | b)) for a, b in pairs) / len(pairs)
