"""How alike circuits of one task are."""

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

from thinwire.model.nodes import Nodes, list_nodes


def jaccard(a: Nodes, b: Nodes) -> float:
    """Intersection over union of two node sets; 1 for two empty ones."""
    first, second = (set(list_nodes(nodes)) for nodes in (a, b))
    union = first | second
    return len(first & second) / len(union) if union else 1.0


def node_overlap(circuits: Sequence[Nodes]) -> float | None:
    """Mean of `jaccard` over pairs of circuits; None for fewer than two."""
    return fmean(jaccard(a, b) for a, b in combinations(circuits, 2)) if len(circuits) > 1 else None
