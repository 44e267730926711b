"""Shares of sources: how often each document stands in the text, and that every stretch holds all sources."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from thinwire.data.shares import copies_of, in_turns

sizes = st.lists(st.lists(st.integers(1, 1000), min_size=1, max_size=30), min_size=1, max_size=4)


def given_bytes(own: list[int], copies: list[int]) -> int:
    return sum(size * n for size, n in zip(own, copies, strict=True))


@given(sizes, st.data(), st.integers(1, 4))
def test_every_source_gives_its_share_up_to_half_a_document(
    own: list[list[int]], data: st.DataObject, copies: int
) -> None:
    weights = data.draw(st.lists(st.integers(1, 20), min_size=len(own), max_size=len(own)))
    shares = [weight / sum(weights) for weight in weights]
    times = copies_of(own, shares, copies)
    totals = list(map(sum, own))
    # as long as the scarcest source allows, but not so long that even the most plentiful one is repeated
    exact = [Fraction(total * sum(weights), weight) for total, weight in zip(totals, weights, strict=True)]
    whole = min(copies * min(exact), max(exact))
    for size, n, weight in zip(own, times, weights, strict=True):
        assert sorted(n, reverse=True) == n and max(n) <= max(copies, 1) and n[0] >= 1
        assert max(n) - min(n) <= 1
        target = whole * weight / sum(weights)
        if given_bytes(size, n) > size[0]:  # at least one document stands, however small the share
            assert abs(given_bytes(size, n) - target) <= Fraction(max(size), 2) + Fraction(1, 1000)


def test_by_hand() -> None:
    a, b = [40, 30, 30], [10, 10, 10, 10]  # 100 and 40 bytes
    # half and half: b is the scarcer, so of a stand the first ones that come nearest to 40 bytes
    assert copies_of([a, b], [0.5, 0.5], 1) == [[1, 0, 0], [1, 1, 1, 1]]
    # b may stand twice: 80 bytes of each; 40 + 30 is nearer to 80 than 100 is
    assert copies_of([a, b], [0.5, 0.5], 2) == [[1, 1, 0], [2, 2, 2, 2]]
    # b may stand nine times, but a is whole at 100 bytes: then b stands two and a half times, 20 of its 40 once more
    assert copies_of([a, b], [0.5, 0.5], 9) == [[1, 1, 1], [3, 3, 2, 2]]
    # a source without documents takes no part
    assert copies_of([a, [], b], [0.4, 0.2, 0.4], 1) == [[1, 0, 0], [], [1, 1, 1, 1]]
    assert copies_of([[], []], [0.5, 0.5], 1) == [[], []]


@given(sizes)
def test_sources_take_turns_in_proportion(own: list[list[int]]) -> None:
    totals = list(map(sum, own))
    largest = max(map(max, own))
    assume(len(own) > 1)
    streams = [iter([(size, (number, i, size)) for i, size in enumerate(one)]) for number, one in enumerate(own)]
    seen = list(in_turns(streams, totals))
    done = [0] * len(own)
    for number in range(len(own)):
        assert [i for n, i, _ in seen if n == number] == list(range(len(own[number])))
    for number, _, size in seen:
        done[number] += size
        shares = [d / total for d, total in zip(done, totals, strict=True)]
        # nobody is more than one document ahead of the others' progress
        assert max(shares) - min(shares) <= max(largest / total for total in totals) + 1e-9


def test_a_stream_may_end_before_its_total() -> None:
    assert list(in_turns([iter([(1, "a")]), iter([(1, "b"), (1, "c")]), iter([])], [5, 2, 0])) == ["a", "b", "c"]


@pytest.mark.parametrize("copies", [1, 3])
def test_equal_parts_of_equal_sources_are_whole(copies: int) -> None:
    assert copies_of([[5, 5], [5, 5]], [0.5, 0.5], copies) == [[1, 1], [1, 1]]
