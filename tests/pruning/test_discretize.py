"""The bisection finds an edge of what meets the target, whatever the loss does in between."""

import math

from hypothesis import given
from hypothesis import strategies as st

from thinwire.pruning.discretize import bisect


@st.composite
def searches(draw) -> tuple[list[float], int, float]:
    """(loss at every count from 0 to all, open gates, target)."""
    losses = draw(st.lists(st.floats(0, 1), min_size=2, max_size=80))
    return losses, draw(st.integers(0, len(losses) - 1)), draw(st.floats(0, 1))


@given(searches())
def test_the_result_meets_the_target_and_one_node_less_does_not(search: tuple[list[float], int, float]) -> None:
    """Losses may rise and fall at will."""
    losses, n_open, target = search
    asked: list[int] = []

    def loss_at(count: int) -> float:
        asked.append(count)
        return losses[count]

    n_total = len(losses) - 1
    found = bisect(loss_at, n_open, n_total, target)
    assert len(asked) == len(set(asked))  # every count costs a forward pass over all validation pairs
    assert len(asked) <= 3 + math.ceil(math.log2(n_total + 1))
    assert found.curve == sorted((count, losses[count]) for count in asked)
    assert n_open in asked
    if losses[n_open] <= target or losses[n_total] <= target:
        assert found.solved
    if not found.solved:
        assert all(loss > target for _, loss in found.curve)
        assert losses[found.n_nodes] == min(loss for _, loss in found.curve)
        return
    assert losses[found.n_nodes] <= target
    assert found.n_nodes == 0 or losses[found.n_nodes - 1] > target
    if losses[n_open] <= target:
        assert found.n_nodes <= n_open


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_where_the_loss_falls_with_the_count_the_smallest_circuit_is_found(a: int, b: int, c: int) -> None:
    n_total = max(a, b, c)
    n_open, first = b, c
    found = bisect(lambda count: 0.1 if count >= first else 0.5, n_open, n_total, 0.1)
    assert found.solved
    assert found.n_nodes == first


def test_nothing_at_all_may_be_enough() -> None:
    found = bisect(lambda count: 0.0, 5, 10, 0.1)
    assert (found.n_nodes, found.solved) == (0, True)
    assert found.curve[0] == (0, 0.0)


def test_everything_may_be_needed() -> None:
    found = bisect(lambda count: 0.05 if count == 10 else 1.0, 5, 10, 0.1)
    assert (found.n_nodes, found.solved) == (10, True)


def test_all_gates_open_and_shut_are_no_special_cases() -> None:
    assert bisect(lambda count: 0.05 if count >= 7 else 1.0, 10, 10, 0.1).n_nodes == 7
    assert bisect(lambda count: 0.05 if count >= 7 else 1.0, 0, 10, 0.1).n_nodes == 7


def test_a_target_that_not_even_the_whole_model_meets_is_not_solved() -> None:
    """The best loss that was reached is reported, with its count."""
    found = bisect(lambda count: 0.5 if count == 4 else 0.7, 4, 10, 0.1)
    assert not found.solved
    assert (found.n_nodes, min(loss for _, loss in found.curve)) == (4, 0.5)


def test_a_loss_equal_to_the_target_meets_it() -> None:
    assert bisect(lambda count: 0.15, 3, 3, 0.15).solved
