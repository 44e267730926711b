import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from thinwire.kernels import projection as kernel
from thinwire.sparsity.projection import Protect, count_nonzero, project_topk_, projection_mask

sides = st.integers(1, 40)
protections = st.sampled_from(["rows", "columns", None])
densities = st.floats(0.01, 1.0)
seeds = st.integers(0, 2**32 - 1)


def matrix(n_rows: int, n_columns: int, seed: int, ties: bool = False) -> Tensor:
    """Normal entries; with `ties` small whole numbers, so that many magnitudes are equal and many are 0."""
    generator = np.random.default_rng(seed)
    values = generator.integers(-2, 3, (n_rows, n_columns)) if ties else generator.normal(size=(n_rows, n_columns))
    return torch.from_numpy(values.astype(np.float32))


def n_protected(weight: Tensor, protect: Protect, min_per_line: int) -> int:
    if not protect:
        return 0
    lines, length = weight.shape if protect == "rows" else weight.shape[::-1]
    return lines * min(min_per_line, length)


def obvious_mask(weight: Tensor, k: int, protect: Protect, min_per_line: int) -> Tensor:
    """The rule word by word, on Python lists: protect, then fill up in order of magnitude, then of index."""
    n_rows, n_columns = weight.shape
    places = [(i, j) for i in range(n_rows) for j in range(n_columns)]
    ranked = sorted(places, key=lambda place: -abs(weight[place].item()))  # sorted() is stable: lower index first
    kept: set[tuple[int, int]] = set()
    for axis, length in ((0, n_rows), (1, n_columns)):
        if protect == ("rows", "columns")[axis]:
            for line in range(length):
                kept |= set([place for place in ranked if place[axis] == line][:min_per_line])
    kept |= set([place for place in ranked if place not in kept][: max(0, k - len(kept))])
    return torch.tensor([[(i, j) in kept for j in range(n_columns)] for i in range(n_rows)])


@given(st.integers(1, 9), st.integers(1, 9), protections, densities, st.integers(0, 5), seeds, st.booleans())
def test_the_reference_follows_the_rule_word_by_word(
    n_rows: int, n_columns: int, protect: Protect, density: float, minimum: int, seed: int, ties: bool
) -> None:
    weight = matrix(n_rows, n_columns, seed, ties)
    k = count_nonzero(weight.numel(), density)
    expected = obvious_mask(weight, k, protect, minimum)
    assert torch.equal(projection_mask(weight, k, protect, minimum), expected)


@given(sides, sides, protections, densities, st.integers(0, 5), seeds, st.booleans())
def test_the_kernel_equals_the_reference_bit_for_bit(
    n_rows: int, n_columns: int, protect: Protect, density: float, minimum: int, seed: int, ties: bool
) -> None:
    weight = matrix(n_rows, n_columns, seed, ties)
    k = count_nonzero(weight.numel(), density)
    expected = torch.where(projection_mask(weight, k, protect, minimum), weight, 0) if k < weight.numel() else weight
    projected = weight.clone()
    project_topk_(projected, density, protect, minimum)
    assert np.array_equal(projected.numpy().view(np.int32), expected.numpy().view(np.int32))


@given(sides, sides, protections, densities, st.integers(0, 4), seeds)
def test_exactly_k_entries_are_kept(
    n_rows: int, n_columns: int, protect: Protect, density: float, minimum: int, seed: int
) -> None:
    weight = matrix(n_rows, n_columns, seed)  # no entry is 0, so kept entries can be counted
    k = max(count_nonzero(weight.numel(), density), n_protected(weight, protect, minimum))
    project_topk_(weight, density, protect, minimum)
    assert weight.count_nonzero() == min(k, weight.numel())


@given(sides, sides, densities, seeds)
def test_without_protection_the_kept_entries_are_the_largest(
    n_rows: int, n_columns: int, density: float, seed: int
) -> None:
    before = matrix(n_rows, n_columns, seed)
    after = before.clone()
    project_topk_(after, density)
    kept = after != 0
    assert torch.equal(after[kept], before[kept])
    assert kept.all() or before[kept].abs().min() >= before[~kept].abs().max()


@given(sides, sides, st.sampled_from(["rows", "columns"]), densities, seeds)
def test_every_line_keeps_its_four_largest(
    n_rows: int, n_columns: int, protect: Protect, density: float, seed: int
) -> None:
    before = matrix(n_rows, n_columns, seed)
    after = before.clone()
    project_topk_(after, density, protect, 4)
    lines = zip(before, after, strict=True) if protect == "rows" else zip(before.T, after.T, strict=True)
    for line_before, line_after in lines:
        n = min(4, len(line_before))
        assert torch.equal(line_before.abs().topk(n).values, line_after.abs().topk(n).values)


@given(sides, sides, protections, densities, st.integers(0, 4), seeds, st.booleans())
def test_projecting_twice_changes_nothing(
    n_rows: int, n_columns: int, protect: Protect, density: float, minimum: int, seed: int, ties: bool
) -> None:
    once = matrix(n_rows, n_columns, seed, ties)
    project_topk_(once, density, protect, minimum)
    twice = once.clone()
    project_topk_(twice, density, protect, minimum)
    assert torch.equal(once, twice)


KINDS = (
    "normal", "lines of many sizes", "dead lines", "whole numbers", "whole numbers, dead lines", "zeros of both signs",
    "hidden from the sample",
)  # fmt: skip


def large_matrix(n_rows: int, n_columns: int, kind: str, seed: int) -> Tensor:
    """Large enough (over 8,192 entries) for the sampled bracket; kinds that make it narrow, wide, tied or wrong."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(n_rows, n_columns))
    if kind == "lines of many sizes":
        values *= np.exp(3 * generator.normal(size=(n_rows, 1))) * np.exp(3 * generator.normal(size=(1, n_columns)))
    if "dead lines" in kind:
        values[generator.random(n_rows) < 0.3] *= 1e-9
        values[:, generator.random(n_columns) < 0.3] *= 1e-9
        values[generator.random(n_rows) < 0.1] = 0
    if "whole numbers" in kind:
        values = values.round()
    if kind == "zeros of both signs":
        values = np.where(generator.random(values.shape) < 0.99, np.copysign(0.0, values), values)
    if kind == "hidden from the sample":
        stride = max(1, int(values.size / (32 * values.size**0.5))) | 1
        values.reshape(-1)[::stride] *= generator.choice([1e-6, 1e6])
    return torch.from_numpy(values.astype(np.float32))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protect", ["rows", "columns", None])
@pytest.mark.parametrize("shape", [(90, 130), (64, 192), (400, 33), (20_000, 1), (1, 20_000)])
def test_large_matrices_equal_the_reference_bit_for_bit_in_any_number_of_blocks(
    shape: tuple[int, int], protect: Protect, kind: str
) -> None:
    for seed, density in enumerate((0.002, 0.04, 0.25, 0.7, 0.999)):
        weight = large_matrix(*shape, kind, seed)
        minimum = (4, 1, 5, 4, 3)[seed]
        k = count_nonzero(weight.numel(), density)
        expected = torch.where(projection_mask(weight, k, protect, minimum), weight, 0).numpy().view(np.int32)
        for n_blocks in (1, 2, 5):
            projected = weight.clone()
            project_in_blocks_(projected, k, protect, minimum, n_blocks)
            assert np.array_equal(projected.numpy().view(np.int32), expected), (density, n_blocks)


def project_in_blocks_(weight: Tensor, k: int, protect: Protect, min_per_line: int, n_blocks: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "_ALONE", 0)
        patch.setattr(kernel, "count_blocks", lambda: n_blocks)
        kernel.project_topk_(weight, k, protect, min_per_line)


def test_a_bias_and_a_scalar_are_projected() -> None:
    bias, scalar = torch.arange(-5.0, 5.0), torch.tensor(3.0)
    project_topk_(bias, 0.2, "rows", 0)
    project_topk_(scalar, 0.1)
    assert bias.tolist() == [-5.0, -4.0] + [0.0] * 8
    assert scalar.item() == 3.0


def test_ties_go_to_the_lower_index() -> None:
    weight = torch.tensor([[1.0, -1.0, 2.0], [1.0, 1.0, -2.0]])
    project_topk_(weight, 0.5)  # k = 3: both twos, then the first of the four ones
    assert weight.tolist() == [[1.0, 0.0, 2.0], [0.0, 0.0, -2.0]]


def test_a_line_of_small_entries_keeps_its_own_inside_k() -> None:
    # k = floor(0.5 x 8) = 4: one per row first (0.2, then 9), then the two largest of the rest, 8 and 7.
    weight = torch.tensor([[0.1, 0.2, -0.1, 0.1], [9.0, -8.0, 7.0, 6.0]])
    project_topk_(weight, 0.5, "rows", 1)
    assert weight.tolist() == [[0.0, pytest.approx(0.2), 0.0, 0.0], [9.0, -8.0, 7.0, 0.0]]


def test_at_least_one_entry_stays() -> None:
    assert (count_nonzero(10, 0.01), count_nonzero(10, 0.39), count_nonzero(3, 1.0)) == (1, 3, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_infinities_and_nan_are_kept_first_and_never_spread(dtype: torch.dtype) -> None:
    weight = torch.tensor([[1.0, torch.inf, 3.0], [-torch.inf, torch.nan, -2.0]], dtype=dtype)
    project_topk_(weight, 0.5)
    assert weight.isnan().tolist() == [[False, False, False], [False, True, False]]
    assert weight.nan_to_num(5.0, 7.0, -7.0).tolist() == [[0.0, 7.0, 0.0], [-7.0, 5.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_is_dropped_becomes_positive_zero_in_every_type(dtype: torch.dtype) -> None:
    weight = torch.tensor([-1.0, -3.0, 2.0, 4.0], dtype=dtype)
    project_topk_(weight, 0.5)
    assert weight.tolist() == [0.0, -3.0, 0.0, 4.0]
    assert not weight[[0, 2]].signbit().any()


def test_a_view_that_is_not_contiguous_is_projected_in_place() -> None:
    whole = torch.arange(1.0, 13.0).view(3, 4)
    project_topk_(whole.T, 0.25)
    assert whole.flatten().tolist() == [0.0] * 9 + [10.0, 11.0, 12.0]
