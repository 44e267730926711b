"""How a head looks, told from its pattern: at all tokens alike, or at some; and what it carries to the last token."""

from collections.abc import Sequence
from dataclasses import dataclass

from thinwire.evidence.records import HeadLook, NodeActivity
from thinwire.viewer.constants import EVEN_SHARE

Pattern = Sequence[Sequence[float]]


def is_even(pattern: Pattern) -> bool:
    """Whether every query of a pattern looks at all its keys alike: an average over the tokens so far."""
    return all(_even(row[: query + 1]) for query, row in enumerate(pattern))


def looks_evenly(look: HeadLook) -> bool:
    """Whether the head averages on both prompts."""
    return is_even(look.clean) and is_even(look.corrupt)


def _even(row: Sequence[float]) -> bool:
    mean = sum(row) / len(row)
    return max(abs(share - mean) for share in row) <= EVEN_SHARE * mean


@dataclass(frozen=True)
class Carried:
    """What a value channel brings to the last token: its activations weighted by the attention of that token."""

    channel: int
    clean: float
    corrupt: float


def carried(look: HeadLook, values: Sequence[tuple[int, NodeActivity]]) -> list[Carried]:
    """One entry for each value channel of the head, those that differ most between the prompts first."""
    found = [
        Carried(channel, _mixed(look.clean, node.clean), _mixed(look.corrupt, node.corrupt)) for channel, node in values
    ]
    return sorted(found, key=lambda c: -abs(c.clean - c.corrupt))


def _mixed(pattern: Pattern, values: Sequence[float]) -> float:
    return sum(share * value for share, value in zip(pattern[-1], values, strict=True))
