"""Where the two prompts of a pair differ, and how much each node tells them apart."""

from collections.abc import Sequence
from dataclasses import dataclass

from thinwire.evidence.records import NodeActivity


@dataclass(frozen=True)
class Contrast:
    """The token at which a node's activation differs most between the two prompts."""

    position: int
    """Index of the token, the same in both prompts; -1 (the last) where their lengths differ."""
    clean: float
    corrupt: float
    share: float
    """|clean - corrupt| there, over the node's largest magnitude on either prompt; clipped to [0, 1]."""


def contrast(node: NodeActivity, at: int | None = None) -> Contrast:
    """Compare a node's activations token by token; prompts of unequal length only at their last token.

    `at` fixes the token, -1 for the last one: some nodes act at one token alone, whatever they do at others.
    """
    clean, corrupt = node.clean, node.corrupt
    shared = range(len(clean)) if len(clean) == len(corrupt) else (-1,)
    position = max(shared, key=lambda i: abs(clean[i] - corrupt[i])) if at is None else at
    largest = max(map(abs, (*clean, *corrupt)))
    a, b = clean[position], corrupt[position]
    return Contrast(position, a, b, min(abs(a - b) / largest, 1.0) if largest else 0.0)


def differing_tokens(clean: Sequence[str], corrupt: Sequence[str]) -> list[int]:
    """Positions at which two prompts of the same length differ; empty where the lengths differ."""
    if len(clean) != len(corrupt):
        return []
    return [i for i, (a, b) in enumerate(zip(clean, corrupt, strict=True)) if a != b]
