import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from thinwire.sparsity.topk import abs_topk, abs_topk_mask, count_kept

shapes = st.tuples(st.integers(1, 5), st.integers(1, 300))
seeds = st.integers(0, 2**32 - 1)
KINDS = ("normal", "ties", "tiny", "constant", "spread")


def rows(shape: tuple[int, int], seed: int, kind: str) -> Tensor:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=shape)
    if kind == "ties":
        values = generator.integers(-2, 3, shape) * 0.5
    elif kind == "tiny":
        values = values * 1e-42  # subnormal numbers
    elif kind == "constant":
        values = np.full(shape, -0.25)
    elif kind == "spread":
        values = values * 10.0 ** generator.integers(-30, 30, shape)
    return torch.from_numpy(values.astype(np.float32))


@given(shapes, st.floats(0.0, 1.0), seeds, st.sampled_from(KINDS))
def test_the_kernel_equals_the_reference_bit_for_bit(shape: tuple[int, int], frac: float, seed: int, kind: str) -> None:
    x = rows(shape, seed, kind)
    k = count_kept(shape[1], frac)
    expected = torch.where(abs_topk_mask(x, k), x, 0) if k < shape[1] else x
    assert np.array_equal(abs_topk(x, k).numpy().view(np.int32), expected.numpy().view(np.int32))


@given(shapes, st.floats(0.0, 1.0), seeds, st.sampled_from(KINDS))
def test_the_gradient_passes_through_the_kept_entries_alone(
    shape: tuple[int, int], frac: float, seed: int, kind: str
) -> None:
    """Also where their value is 0: entries are kept by rank, not by being nonzero."""
    x = rows(shape, seed, kind).requires_grad_()
    k = count_kept(shape[1], frac)
    upstream = torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))
    abs_topk(x, k).backward(upstream)
    assert x.grad is not None
    assert torch.equal(x.grad, torch.where(abs_topk_mask(x.detach(), k), upstream, 0))
    assert (x.grad.count_nonzero(-1) == min(k, shape[1])).all()


@given(shapes, st.integers(1, 300), seeds)
def test_exactly_k_entries_are_kept_and_they_are_the_largest(shape: tuple[int, int], k: int, seed: int) -> None:
    x = rows(shape, seed, "normal")
    kept = abs_topk(x, k)
    for before, after in zip(x, kept, strict=True):
        chosen = after != 0
        assert chosen.sum() == min(k, shape[1])
        assert torch.equal(before[chosen], after[chosen])
        assert chosen.all() or before[chosen].abs().min() >= before[~chosen].abs().max()


def test_ties_go_to_the_lower_index_and_zeros_are_kept_only_when_nothing_is_left() -> None:
    x = torch.tensor([[1.0, -1.0, 1.0, 0.0], [0.0, 0.0, 3.0, 0.0]])
    assert abs_topk(x, 2).tolist() == [[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0]]


def test_leading_dimensions_are_rows() -> None:
    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(abs_topk(x, 2), abs_topk(x.view(6, 8), 2).view(2, 3, 8))


def test_a_layout_that_is_not_contiguous_gives_the_same_values() -> None:
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(abs_topk(x.T, 3), abs_topk(x.T.contiguous(), 3))


def test_keeping_all_returns_the_input_itself() -> None:
    x = torch.ones(2, 3)
    assert abs_topk(x, 3) is x


def test_k_is_the_floor_and_at_least_one() -> None:
    assert [count_kept(256, 0.25), count_kept(10, 0.25), count_kept(3, 0.25)] == [64, 2, 1]


def test_infinities_and_nan_are_kept_first_and_never_spread() -> None:
    x = torch.tensor([[1.0, torch.nan, -torch.inf, 2.0, torch.inf]])
    assert abs_topk(x, 3).nan_to_num(5.0, 7.0, -7.0).tolist() == [[0.0, 5.0, -7.0, 0.0, 7.0]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_take_the_reference(dtype: torch.dtype) -> None:
    x = torch.tensor([[1.0, -3.0, 2.0]], dtype=dtype)
    assert abs_topk(x, 1).tolist() == [[0.0, -3.0, 0.0]]
