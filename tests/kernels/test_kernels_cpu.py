"""Every CPU kernel against the plain torch expression it stands for, and its bytes for any number of threads."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from thinwire.kernels import cpu, cross_entropy, kept, norm, products, projection
from thinwire.model.norm import rms_norm
from thinwire.sparsity.costs import Cost, CostRow, CostTable, cheapest, from_rows, measure_costs, to_rows
from thinwire.sparsity.linear import linear
from thinwire.sparsity.projection import project_topk_
from thinwire.sparsity.topk import abs_topk
from thinwire.training.cross_entropy import unembed_loss

seeds = st.integers(0, 2**32 - 1)
ALWAYS = Cost(dense=1.0, sparse=0.0, per_nonzero=0.0)
ACTIVATIONS = Cost(dense=1.0, sparse=0.0, per_nonzero=1.0, per_kept=0.0)
close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-5)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed % 2**31))


def thin(weight: Tensor, density: float, seed: int) -> Tensor:
    return weight * (torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed % 2**31)) < density)


@settings(max_examples=40)
@given(st.integers(1, 600), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), seeds)
def test_products_over_nonzeros_equal_the_dense_ones(
    n_tokens: int, n_out: int, n_in: int, density: float, seed: int
) -> None:
    x, dy = normal(seed, n_tokens, n_in), normal(seed + 1, n_tokens, n_out)
    weight, bias = thin(normal(seed + 2, n_out, n_in), density, seed), normal(seed + 3, n_out)
    rows = products.compress(weight)
    assert rows.n_nonzero == weight.count_nonzero()
    close(products.multiply(x, rows, bias), F.linear(x, weight, bias))
    close(products.multiply(x, rows), x @ weight.T)
    close(products.multiply(dy, products.transposed(rows, n_in)), dy @ weight)


def test_nonzeros_are_listed_by_row_and_by_column() -> None:
    rows = products.compress(torch.tensor([[0.0, 5.0, 0.0], [7.0, 0.0, 6.0]]))
    assert [array.tolist() for array in rows] == [[0, 1, 3], [1, 0, 2], [5.0, 7.0, 6.0]]
    columns = products.transposed(rows, 3)
    assert [array.tolist() for array in columns] == [[0, 1, 2, 3], [1, 0, 1], [7.0, 5.0, 6.0]]


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 7)])
def test_a_sparse_linear_map_has_the_dense_ones_value_and_gradients(shape: tuple[int, ...]) -> None:
    """The weight gradient is the dense one: zeroed weights get theirs, so that they can come back."""
    costs: CostTable = {(9, 7): ALWAYS}
    weight, bias, upstream = thin(normal(1, 9, 7), 0.3, 2), normal(3, 9), normal(4, *shape[:-1], 9)
    results = []
    for table in (None, costs):
        leaves = [t.clone().requires_grad_() for t in (normal(0, *shape), weight, bias)]
        y = linear(leaves[0], leaves[1], leaves[2], table)
        y.backward(upstream)
        results.append([y.detach(), *(leaf.grad for leaf in leaves)])
    for dense, sparse in zip(*results, strict=True):
        close(sparse, dense)
    assert bool((results[1][2][weight == 0] != 0).all())


@settings(max_examples=30)
@given(st.integers(1, 300), st.integers(1, 70), st.integers(1, 2), st.floats(0, 1), seeds)
def test_products_over_nonzero_activations_equal_the_dense_ones(
    n_tokens: int, width: int, n_spans: int, density: float, seed: int
) -> None:
    x, lines = thin(normal(seed, n_tokens, width), density, seed), normal(seed + 1, width, 128 * n_spans)
    bias, y = normal(seed + 2, 128 * n_spans), normal(seed + 3, n_tokens, 128 * n_spans)
    close(kept.multiply(x, lines, bias), x @ lines + bias)
    close(kept.multiply(x, lines), x @ lines)
    torch.testing.assert_close(kept.sum_products(x, y), x.T @ y, rtol=1e-4, atol=1e-4)


def test_products_over_no_tokens_are_zero() -> None:
    assert kept.sum_products(torch.empty(0, 5), torch.empty(0, 128)).count_nonzero() == 0
    assert kept.multiply(torch.empty(0, 5), normal(0, 5, 128)).shape == (0, 128)


@pytest.mark.parametrize(("x", "lines"), [((2, 3), (3, 200)), ((2, 3), (4, 128))])
def test_shapes_that_the_kernels_are_not_made_for_are_refused(x: tuple[int, int], lines: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must agree"):
        kept.multiply(torch.ones(x), torch.ones(lines))
    with pytest.raises(ValueError, match="must agree"):
        kept.sum_products(torch.ones(x[::-1]), torch.ones(lines))


def test_a_second_derivative_is_refused_and_not_wrong() -> None:
    x, weight = thin(normal(0, 9, 128), 0.25, 1).requires_grad_(), normal(1, 128, 128).requires_grad_()
    y = linear(x, weight, None, {(128, 128): ACTIVATIONS}, (0.25, 0.25))
    (first,) = torch.autograd.grad(y.square().sum(), weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_products_over_nonzero_activations_take_arrays_with_gaps() -> None:
    x, lines = thin(normal(0, 9, 20), 0.3, 1)[:, ::2], normal(1, 128, 10).T
    close(kept.multiply(x, lines), x @ lines)
    close(kept.sum_products(x, normal(2, 128, 9).T), x.T @ normal(2, 128, 9).T)


@pytest.mark.parametrize("shares", [(0.25, 1.0), (1.0, 0.25), (0.25, 0.25)])
@pytest.mark.parametrize("shape", [(128, 256), (256, 128)])
def test_a_linear_map_over_kept_activations_has_the_dense_ones_value_and_gradients(
    shape: tuple[int, int], shares: tuple[float, float]
) -> None:
    (n_out, n_in), (source, target) = shape, shares
    weight, bias = normal(1, n_out, n_in), normal(3, n_out)
    x, upstream = (thin(normal(i, 20, 50, n), share, i) for i, n, share in ((0, n_in, source), (4, n_out, target)))
    results = []
    for table in (None, {shape: ACTIVATIONS}):
        leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
        y = linear(leaves[0], leaves[1], leaves[2], table, shares)
        y.backward(upstream)
        assert all(leaf.grad is not None and leaf.grad.is_contiguous() for leaf in leaves)
        results.append([y.detach(), *(leaf.grad for leaf in leaves)])
    assert not torch.equal(results[0][2], results[1][2])  # another order of summing: the other product was taken
    for dense, sparse in zip(*results, strict=True):
        torch.testing.assert_close(sparse, dense, rtol=1e-4, atol=2e-4)


def test_other_types_and_shapes_outside_the_table_take_the_dense_product() -> None:
    x, weight = normal(0, 3, 7), thin(normal(1, 9, 7), 0.3, 2)
    assert torch.equal(linear(x, weight, None, {(7, 9): ALWAYS}), F.linear(x, weight))
    wide = linear(x.double(), weight.double(), None, {(9, 7): ALWAYS})
    assert torch.equal(wide, F.linear(x.double(), weight.double()))
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight, None, {(9, 7): ALWAYS}).dtype == torch.bfloat16


def test_the_cheapest_product_is_chosen_by_shape_and_nonzeros_alone() -> None:
    # 1 + 0.01 n against 3: the nonzeros pay below n = 200.
    costs = {(10, 100): Cost(dense=3.0, sparse=1.0, per_nonzero=0.01)}
    assert [cheapest(costs, (10, 100), n) for n in (0, 199, 200)] == ["weights", "weights", "dense"]
    assert cheapest(costs, (10, 100), 1000, share=0.01) == cheapest(costs, (100, 10), 0) == "dense"
    # and 1 + 0.004 x share x 1000: with a quarter of the activations 2, so n = 100 decides; all of them, never.
    costs = {(10, 100): Cost(dense=3.0, sparse=1.0, per_nonzero=0.01, per_kept=0.004)}
    assert [cheapest(costs, (10, 100), n, 0.25) for n in (99, 101, 1000)] == ["weights", "activations", "activations"]
    assert [cheapest(costs, (10, 100), 1000, share) for share in (0.4, 0.6, 1.0)] == ["activations", "dense", "dense"]


def test_a_table_is_stored_and_one_of_an_older_version_is_read() -> None:
    costs = {(10, 100): Cost(3.0, 1.0, 0.01, 0.004), (9, 7): Cost(3.0, 1.0, 0.01)}
    assert from_rows(to_rows(costs)) == costs
    old = [CostRow(10, 100, dense=3.0, sparse=1.0, per_nonzero=0.01)]
    assert from_rows(old) == {(10, 100): Cost(3.0, 1.0, 0.01)}


def test_costs_are_measured_for_every_shape() -> None:
    costs = measure_costs([(32, 16), (16, 32), (32, 16), (128, 256)], n_tokens=64, n_repeats=1)
    assert costs.keys() == {(32, 16), (16, 32), (128, 256)}
    assert all(c.dense > 0 and c.sparse >= 0 and c.per_nonzero >= 0 for c in costs.values())
    assert [c.per_kept is not None for c in costs.values()] == [False, False, True]


def test_exp_is_exact_to_float_precision() -> None:
    x = np.concatenate([-np.logspace(-8, np.log10(87), 5000), [0.0, -0.0]]).astype(np.float32)
    expected = np.exp(x.astype(np.float64))
    cross_entropy.exp_(x, np.empty(x.size, np.int32))
    assert np.max(np.abs(x / expected - 1)) < 2.0**-22
    beyond = np.array([-200.0, -np.inf, np.nan], np.float32)
    cross_entropy.exp_(beyond, np.empty(3, np.int32))
    assert beyond[:2].max() < 2e-38 and np.isnan(beyond[2])


@pytest.mark.parametrize("with_bigram", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("n", [1, 300, 1100])
def test_the_loss_in_chunks_equals_the_plain_one(with_bigram: bool, sparse: bool, n: int) -> None:
    """1100 tokens are two chunks and a part of one."""
    generator = torch.Generator().manual_seed(0)
    tokens, targets = torch.randint(0, 50, (2, n), generator=generator)
    values = normal(1, n, 12), thin(normal(2, 50, 12), 0.4, 3), normal(4, 50, 50)
    gradients, losses = [], []
    for fast in (False, True):
        x, unembed, table = (t.clone().requires_grad_() for t in values)
        bigram = table if with_bigram else None
        if fast:
            loss = unembed_loss(x, unembed, bigram, tokens, targets, {(50, 12): ALWAYS} if sparse else None)
        else:
            loss = F.cross_entropy(x @ unembed.T + (table[tokens] if with_bigram else 0), targets)
        (3 * loss).backward()
        losses.append(loss.detach())
        gradients.append([x.grad, unembed.grad, table.grad])
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-6)
    for plain, fast in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-7)


def test_extreme_logits_give_a_finite_loss_and_nan_is_not_swallowed() -> None:
    x = torch.tensor([[1000.0], [-1000.0]])
    unembed, tokens = torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 0])
    assert unembed_loss(x, unembed, None, tokens, torch.tensor([0, 0])).item() == pytest.approx(1000.0)
    assert unembed_loss(x * torch.nan, unembed, None, tokens, tokens).isnan()


@settings(max_examples=30)
@given(st.integers(1, 300), st.integers(1, 70), seeds, st.sampled_from([1e-6, 1.0, 1e4]))
@example(101, 1, 58, 1e4)  # a row far smaller than the others
def test_the_norm_has_torchs_value_and_gradients(n_rows: int, width: int, seed: int, size: float) -> None:
    """A row's gradient goes with 1 / scale of that row, and so does its rounding."""
    results = []
    for function in (rms_norm, lambda x, gain: F.rms_norm(x, gain.shape, gain)):
        x = (normal(seed, n_rows, width) * size).requires_grad_()
        gain = normal(seed + 1, width).requires_grad_()
        y = function(x, gain)
        y.backward(normal(seed + 2, n_rows, width))
        assert x.grad is not None
        scale = (x.detach().square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt()
        results.append([y.detach(), x.grad * scale, gain.grad])
    for ours, torchs in zip(*results, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=2e-5)


def every_kernel() -> Iterator[tuple[str, Callable[[], Tensor]]]:
    x, weight = normal(0, 700, 48), normal(1, 64, 48)
    thin_weight = thin(weight, 0.2, 2)
    tokens, targets = torch.arange(700) % 64, torch.arange(700) % 63
    yield "multiply", lambda: products.multiply(x, products.compress(thin_weight))
    yield "kept multiply", lambda: kept.multiply(thin(x, 0.25, 3), normal(8, 48, 128))
    yield "kept sum_products", lambda: kept.sum_products(thin(x, 0.25, 3), normal(9, 700, 128))
    yield "abs_topk", lambda: abs_topk(x, 12)
    for protect in ("rows", "columns"):

        def projected(lines: str = protect) -> Tensor:
            value = weight.clone()
            project_topk_(value, 0.3, lines, 4)  # pyright: ignore[reportArgumentType]
            return value

        yield f"project {protect}", projected

    def loss_gradient() -> Tensor:
        logits = normal(5, 700, 64)
        cross_entropy.cross_entropy_(logits, normal(6, 64, 64), tokens, targets, 1.0)
        out = torch.zeros(64, 64)
        cross_entropy.add_rows_(out, tokens, logits)
        return torch.cat([logits, out])

    yield "cross_entropy", loss_gradient
    y, scale = norm.forward(x, normal(7, 48))
    yield "norm", lambda: torch.cat([t.flatten() for t in norm.backward(x, normal(7, 48), scale, y)])


@pytest.mark.parametrize("n_blocks", [2, 5])
def test_any_number_of_threads_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch, n_blocks: int) -> None:
    """Blocks are what threads share out; tests have one thread, so their number is set here."""
    one = {name: kernel() for name, kernel in every_kernel()}
    for module in (cpu, cross_entropy, kept, norm, products, projection):
        monkeypatch.setattr(module, "count_blocks", lambda: n_blocks)
    for name, kernel in every_kernel():
        assert torch.equal(one[name], kernel()), name
