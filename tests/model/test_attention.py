"""Causal attention on CPU: the kernel against the pattern written out, in values, gradients and causality."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from torch import Tensor

from thinwire.kernels import attention
from thinwire.kernels.tiles import LANES, add_product, each_row, turn
from thinwire.model.attention import WIDEST_HEAD, attention_pattern, causal_attention, heads


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs(seed: int, n_batch: int, n_tokens: int, n_head: int, d_head: int, sink: bool = False) -> list[Tensor]:
    """q, k, v and, with `sink`, a logit for each head."""
    found = [normal(seed + i, n_batch, n_tokens, n_head * d_head) for i in range(3)]
    return [*found, normal(seed + 3, n_head)] if sink else found


def plain(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor | None, n_head: int) -> Tensor:
    return (attention_pattern(q, k, sinks, n_head) @ heads(v, n_head)).transpose(1, 2).flatten(2)


def results(attend: Callable[..., Tensor], tensors: list[Tensor], n_head: int) -> list[Tensor]:
    """Value and gradients."""
    leaves = [t.clone().requires_grad_() for t in tensors]
    out = attend(*leaves[:3], leaves[3] if len(leaves) > 3 else None, n_head)
    out.backward(normal(99, *out.shape).to(out))
    return [out.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@settings(max_examples=40)
@given(
    st.integers(0, 1000), st.integers(1, 3), st.integers(1, 70), st.integers(1, 3), st.integers(1, 40), st.booleans()
)
def test_values_and_gradients_equal_those_of_the_pattern_in_float64(
    seed: int, n_batch: int, n_tokens: int, n_head: int, d_head: int, sink: bool
) -> None:
    tensors = inputs(seed, n_batch, n_tokens, n_head, d_head, sink)
    expected = results(plain, [t.double() for t in tensors], n_head)
    found = results(causal_attention, tensors, n_head)
    assert len(found) == len(expected) == (5 if sink else 4)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=2e-5)


def test_one_token_attends_to_itself_alone() -> None:
    q, k, v = inputs(0, 2, 1, 3, 5)
    assert torch.equal(causal_attention(q, k, v, None, 3), v)


@pytest.mark.parametrize("n_tokens", [33, 48])
def test_later_tokens_change_no_byte_of_earlier_ones(n_tokens: int) -> None:
    q, k, v = inputs(1, 1, n_tokens, 2, 16)
    before = causal_attention(q, k, v, None, 2)
    for x in (q, k, v):
        x[:, 20:] = 1e6
    after = causal_attention(q, k, v, None, 2)
    assert torch.equal(before[:, :20], after[:, :20]) and not torch.equal(before[:, 20:], after[:, 20:])


def test_large_scores_neither_overflow_nor_lose_the_largest() -> None:
    """Scores of about 1e3, where exp without a shift would be infinite."""
    tensors = [30 * x for x in inputs(2, 1, 40, 1, 16, sink=True)]
    expected = results(plain, [t.double() for t in tensors], 1)
    for a, b in zip(results(causal_attention, tensors, 1), expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=2e-2)


def test_scores_far_below_zero_leave_gradients_finite() -> None:
    """Every score is about -200, and 41 tokens leave lanes without a query."""
    q = torch.full((1, 41, 16), 7.0)
    tensors = [q + 0.1 * normal(3, *q.shape), -q + 0.1 * normal(4, *q.shape), normal(5, *q.shape)]
    expected = results(plain, [t.double() for t in tensors], 1)
    for a, b in zip(results(causal_attention, tensors, 1), expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=2e-3)


def test_nan_reaches_the_values_after_it() -> None:
    q, k, v = inputs(6, 1, 20, 1, 8)
    k[0, 3, 2] = torch.nan
    out = causal_attention(q, k, v, None, 1)
    assert out[0, 3:].isnan().all() and not out[0, :3].isnan().any()


def test_other_types_and_wide_heads_take_torch() -> None:
    for d_head, dtype in ((16, torch.float64), (WIDEST_HEAD + 1, torch.float32)):
        for sink in (False, True):
            tensors = [t.to(dtype) for t in inputs(7, 1, 9, 2, d_head, sink)]
            expected = results(plain, tensors, 2)
            for a, b in zip(results(causal_attention, tensors, 2), expected, strict=True):
                assert a.dtype == dtype
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_blocks", [2, 3, 7])
def test_any_number_of_blocks_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch, n_blocks: int) -> None:
    tensors = inputs(8, 2, 21, 3, 8, sink=True)
    one = results(causal_attention, tensors, 3)
    monkeypatch.setattr(attention, "count_blocks", lambda: n_blocks)
    assert all(torch.equal(a, b) for a, b in zip(one, results(causal_attention, tensors, 3), strict=True))


_double_and_sum = each_row(lambda row, total: (row * 2.0, total + row), n_tiles=1, n_shared=1)
_exp = each_row(lambda row: (row.exp(),), n_tiles=1, n_shared=0)


@njit
def tile_operations(a: np.ndarray, b: np.ndarray, out: np.ndarray, turned: np.ndarray, total: np.ndarray) -> None:
    add_product(out[:3], a, LANES, 1, b, 3)  # pyright: ignore[reportCallIssue]
    add_product(out[3:], a, 1, LANES, b, LANES)  # pyright: ignore[reportCallIssue]
    turn(a, turned)  # pyright: ignore[reportCallIssue]
    _double_and_sum(2, a, total)


@njit
def exponentials(x: np.ndarray) -> None:
    _exp(x.shape[0], x)


def test_tiles_are_multiplied_turned_and_walked_row_by_row() -> None:
    a, b = normal(9, LANES, LANES).numpy(), normal(10, LANES, LANES).numpy()
    out, turned, total = (np.ones(s, np.float32) for s in ((3 + LANES, LANES), (LANES, LANES), (LANES,)))
    before = a.copy()
    tile_operations(a, b, out, turned, total)
    np.testing.assert_allclose(out, 1 + np.concatenate([before[:3] @ b, before.T @ b]), rtol=1e-4, atol=1e-5)
    assert np.array_equal(turned, before.T)
    assert np.array_equal(a, np.concatenate([2 * before[:2], before[2:]]))
    np.testing.assert_allclose(total, 1 + before[:2].sum(0), rtol=1e-6)


def test_exp_of_a_row_is_exact_to_float_precision() -> None:
    x = -np.concatenate([np.zeros(1), np.logspace(-8, np.log10(87), 16 * 400 - 1)]).astype(np.float32)
    found = x.copy().reshape(-1, LANES)
    exponentials(found)
    assert np.max(np.abs(found.ravel() / np.exp(x.astype(np.float64)) - 1)) < 2.0**-22
    beyond = np.resize(np.array([-200.0, -np.inf, np.nan], np.float32), (1, LANES))
    exponentials(beyond)
    assert (beyond[0, :2] < 1e-37).all() and np.isnan(beyond[0, 2])
