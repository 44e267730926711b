"""How several sources make one text: how often each document stands in it, and in which order.

1. Without shares every document stands once.
2. With shares the text is as long as the scarcest source allows: its documents stand `copies` times, or fewer where
   every other source is whole before that. Each source then gives its share of the bytes: all its documents as often as
   they fit, and the first of them once more; the order of a source's documents is the caller's, who makes it random.
3. Sources take turns, the one that is furthest behind its part first: any stretch of the text holds all of them.
"""

import heapq
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def copies_of(sizes: Sequence[Sequence[int]], shares: Sequence[float], copies: int) -> list[list[int]]:
    """How often each document stands in the text, by its size in bytes: a list for each source.

    `shares` are those of the bytes, one for each source, positive; a source without documents is left out of the sum.
    """
    totals = [sum(own) for own in sizes]
    wanted = [total / share for total, share in zip(totals, shares, strict=True) if total]
    whole = min(copies * min(wanted), max(wanted)) if wanted else 0.0
    return [_fit(own, share * whole) for own, share in zip(sizes, shares, strict=True)]


def _fit(sizes: Sequence[int], target: float) -> list[int]:
    """Copies of documents that come nearest to `target` bytes: the first ones one more than the others."""
    if not sizes:
        return []
    full, rest = divmod(target, sum(sizes))
    n_more, sum_before = 0, 0
    for size in sizes:  # one document more, as long as it brings the sum nearer
        if abs(sum_before + size - rest) >= abs(sum_before - rest):
            break
        n_more, sum_before = n_more + 1, sum_before + size
    if not full and not n_more:
        n_more = 1
    return [int(full) + (i < n_more) for i in range(len(sizes))]


def in_turns(streams: Sequence[Iterator[tuple[int, T]]], totals: Sequence[int]) -> Iterator[T]:
    """Items of all streams of (size, item), each stream spread evenly over the whole; `totals` are their sizes."""
    behind = [(0.0, number) for number, total in enumerate(totals) if total]
    done = [0] * len(totals)
    while behind:
        _, number = heapq.heappop(behind)
        if (following := next(streams[number], None)) is None:
            continue
        size, item = following
        done[number] += size
        heapq.heappush(behind, (done[number] / totals[number], number))
        yield item
