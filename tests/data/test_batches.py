import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinwire.data.batches import Batches, batch_at, epoch_starts, heldout_windows, n_windows
from thinwire.errors import UserError


def stream(n_tokens: int) -> np.ndarray:
    """Token i is i, so that a window shows where it starts."""
    return np.arange(n_tokens, dtype=np.uint16)


shapes = st.integers(1, 20).flatmap(lambda context: st.tuples(st.integers(context + 1, 300), st.just(context)))


@given(shapes, st.integers(1, 40), st.integers(0, 2**63), st.permutations([0, 1, 2, 5, 9, 10, 1000]))
def test_batches_equal_the_reference_in_any_order_of_calls(
    shape: tuple[int, int], batch_size: int, seed: int, steps: list[int]
) -> None:
    n_tokens, context = shape
    batches = Batches(stream(n_tokens), batch_size, context, seed)
    for step in steps:
        batch = batches.at(step)
        assert batch.shape == (batch_size, context + 1) and batch.dtype == np.int64
        assert np.array_equal(batch, batch_at(stream(n_tokens), step, batch_size, context, seed))


@given(shapes, st.integers(1, 7), st.integers(0, 100))
def test_every_window_of_an_epoch_is_visited_once(shape: tuple[int, int], batch_size: int, seed: int) -> None:
    n_tokens, context = shape
    batches = Batches(stream(n_tokens), batch_size, context, seed)
    count = batches.n_windows
    # As many steps as make up `batch_size` whole epochs, so that batches straddle the ends of epochs.
    visited = np.concatenate([batches.at(step) for step in range(count)])
    assert np.array_equal(visited, visited[:, :1] + np.arange(context + 1))
    for epoch in visited[:, 0].reshape(batch_size, count):
        first = epoch.min()
        assert np.array_equal(np.sort(epoch), first + context * np.arange(count))
        assert first < context and first + count * context < n_tokens


@given(shapes)
def test_less_than_two_contexts_are_left_out_of_an_epoch(shape: tuple[int, int]) -> None:
    n_tokens, context = shape
    n_targets = n_windows(n_tokens, context) * context
    assert n_tokens - 1 - n_targets < 2 * context


def test_offsets_and_orders_change_from_epoch_to_epoch() -> None:
    # 11 tokens, context 3: 11 // 3 - 1 = 2 windows, at o and o + 3 with an offset o of 0, 1 or 2.
    epochs = {tuple(epoch_starts(11, 3, seed=0, epoch=epoch).tolist()) for epoch in range(60)}
    assert epochs == {(0, 3), (3, 0), (1, 4), (4, 1), (2, 5), (5, 2)}


def test_the_shortest_stream_is_one_window() -> None:
    assert batch_at(stream(4), step=7, batch_size=2, context=3, seed=1).tolist() == [[0, 1, 2, 3]] * 2


def test_seeds_differ() -> None:
    first, second = (Batches(stream(1000), 8, 5, seed).at(0) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_batches_do_not_change_with_the_storage_of_the_tokens(tmp_path) -> None:
    tokens = stream(500)
    tokens.tofile(tmp_path / "tokens")
    mapped = np.memmap(tmp_path / "tokens", dtype="<u2", mode="r")
    batch = Batches(mapped, 4, 6, 3).at(2)
    assert type(batch) is np.ndarray and batch.flags.writeable
    assert np.array_equal(batch, Batches(tokens, 4, 6, 3).at(2))


def test_heldout_windows_are_spread_evenly() -> None:
    # 26 tokens, context 5: 5 windows at 0, 5, .. 20. 14 targets allow 2 of them, number 0 and number 5/2 = 2.
    assert heldout_windows(stream(26), 14, 5).tolist() == [[0, 1, 2, 3, 4, 5], [10, 11, 12, 13, 14, 15]]
    assert heldout_windows(stream(26), 10**6, 5)[:, 0].tolist() == [0, 5, 10, 15, 20]


@given(shapes, st.integers(1, 400))
def test_heldout_windows_repeat_no_target_and_keep_to_the_count(shape: tuple[int, int], n_tokens: int) -> None:
    stream_tokens, context = shape
    if n_tokens < context:
        with pytest.raises(UserError, match="fewer than one window"):
            heldout_windows(stream(stream_tokens), n_tokens, context)
        return
    windows = heldout_windows(stream(stream_tokens), n_tokens, context)
    assert np.array_equal(windows, windows[:, :1] + np.arange(context + 1))
    targets = windows[:, 1:]
    assert len(np.unique(targets)) == targets.size
    # As many windows as fit in the count or in the stream, whichever is less.
    assert len(windows) == min(n_tokens // context, (stream_tokens - 1) // context)


def test_a_stream_shorter_than_a_window_is_refused() -> None:
    for refused in (
        lambda: Batches(stream(5), 1, 5, 0),
        lambda: batch_at(stream(5), 0, 1, 5, 0),
        lambda: heldout_windows(stream(5), 100, 5),
    ):
        with pytest.raises(UserError, match="5 tokens, fewer than one window of context 5"):
            refused()


@pytest.mark.parametrize(("batch_size", "context", "seed"), [(0, 5, 0), (1, 0, 0), (1, 5, -1)])
def test_arguments_out_of_range_are_refused(batch_size: int, context: int, seed: int) -> None:
    with pytest.raises(UserError, match="must be positive"):
        Batches(stream(50), batch_size, context, seed)
