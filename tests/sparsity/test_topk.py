import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from thinwire.kernels import activation, cpu
from thinwire.sparsity.topk import abs_topk, abs_topk_mask, count_kept, gelu_topk

shapes = st.tuples(st.integers(1, 5), st.integers(1, 300))
seeds = st.integers(0, 2**32 - 1)
KINDS = ("normal", "ties", "tiny", "constant", "spread", "unlike", "few")


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
    elif kind == "unlike":  # each row of another size: the last row's threshold is no help
        values = values * 10.0 ** generator.integers(-30, 30, (shape[0], 1))
    elif kind == "few":
        values = values * (generator.random(shape) < 0.2)
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


def exact_gelu(x: Tensor) -> Tensor:
    return F.gelu(x.double())


def test_gelu_and_its_slope_are_as_near_to_the_truth_as_torch_is() -> None:
    x = torch.cat([torch.linspace(-15, 15, 30001), torch.tensor([0.0, -0.0, 1e-30, -80.0, 80.0, 1e30, -1e30])])
    x.requires_grad_()
    y = gelu_topk(x, len(x))
    y.sum().backward()
    wide = x.detach().double().requires_grad_()
    F.gelu(wide).sum().backward()
    assert x.grad is not None and wide.grad is not None
    error, torch_error = (torch.abs(v - exact_gelu(x))[:30001].max() for v in (y, F.gelu(x)))
    assert error <= 1.25 * torch_error and error < 1e-6
    torch.testing.assert_close(y.double(), exact_gelu(x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(x.grad.double(), wide.grad, rtol=1e-6, atol=1e-6)


@given(shapes, st.floats(0.0, 1.0), seeds, st.sampled_from(KINDS))
def test_gelu_and_abs_topk_in_one_equal_the_two(shape: tuple[int, int], frac: float, seed: int, kind: str) -> None:
    """The kept entries are the largest of the exact gelu to float tolerance; their values and slopes are right."""
    x = rows(shape, seed, kind).clamp(-1e4, 1e4).requires_grad_()
    k = min(count_kept(shape[1], frac), shape[1])
    kept = gelu_topk(x, k)
    kept.backward(torch.ones_like(kept))
    wide = x.detach().double().requires_grad_()
    F.gelu(wide).sum().backward()
    assert x.grad is not None and wide.grad is not None
    for value, slope, exact, exact_slope in zip(kept.detach(), x.grad, exact_gelu(x).detach(), wide.grad, strict=True):
        chosen = value != 0
        assert chosen.sum() <= k
        torch.testing.assert_close(value[chosen].double(), exact[chosen], rtol=1e-5, atol=1e-6)
        passes = slope != 0
        torch.testing.assert_close(slope[passes].double(), exact_slope[passes], rtol=1e-5, atol=1e-6)
        threshold = exact.abs().sort(descending=True).values[k - 1]
        assert (exact[~chosen].abs() <= threshold + 1e-6 * (1 + threshold)).all()


def test_of_equal_gelus_the_lower_index_is_kept_and_zeros_pass_gradients() -> None:
    """gelu(0) = 0 with slope 0.5: with three places, the first zero is kept too."""
    x = torch.tensor([[2.0, 0.0, 2.0, 0.0, 0.0]], requires_grad=True)
    gelu_topk(x, 3).sum().backward()
    assert x.grad is not None
    assert x.grad[0, 1] == pytest.approx(0.5) and x.grad[0, 3:].tolist() == [0.0, 0.0] and (x.grad[0, [0, 2]] > 1).all()
    one = torch.tensor([[2.0, 0.0, 2.0]])
    assert gelu_topk(one, 1)[0, 1:].tolist() == [0.0, 0.0] and gelu_topk(one, 1)[0, 0] > 1.9


def test_a_nan_before_gelu_is_kept() -> None:
    x = torch.tensor([[1.0, torch.nan, 3.0, torch.inf]])
    kept = gelu_topk(x, 2)
    assert kept[0, 1].isnan() and kept[0, 0] == 0 and kept[0, 3] == torch.inf


@pytest.mark.parametrize("n_blocks", [2, 3, 7])
def test_any_number_of_blocks_selects_the_same_bytes(monkeypatch: pytest.MonkeyPatch, n_blocks: int) -> None:
    """Each row's search starts where the last one's ended: results must not depend on which row that was."""

    def everything() -> list[Tensor]:
        x = torch.cat([rows((5, 70), 1, kind) for kind in KINDS]).clamp(-1e4, 1e4)
        leaves = [x.clone().requires_grad_(), x.clone().requires_grad_()]
        values = [abs_topk(leaves[0], 17), gelu_topk(leaves[1], 17)]
        for value in values:
            value.backward(rows(x.shape, 2, "normal"))  # pyright: ignore[reportArgumentType]
        return [*(v.detach() for v in values), *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    one = everything()
    for module in (cpu, activation):
        monkeypatch.setattr(module, "count_blocks", lambda: n_blocks)
    assert len(one) == 4 and all(torch.equal(a, b) for a, b in zip(one, everything(), strict=True))


def test_gelu_of_other_types_takes_torch() -> None:
    x = torch.tensor([[1.0, -3.0, 2.0]], dtype=torch.float64)
    assert torch.equal(gelu_topk(x, 1), torch.tensor([[0.0, 0.0, F.gelu(x)[0, 2].item()]], dtype=torch.float64))
