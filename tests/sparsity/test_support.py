"""Products, gradients and projection over stored entries equal the dense ones."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from thinwire.kernels import products
from thinwire.kernels import support as kernels
from thinwire.kernels.support import adam_
from thinwire.sparsity.linear import support_linear
from thinwire.sparsity.projection import Protect, projection_mask
from thinwire.sparsity.support import Support, SupportMatrix, project_entries_, support_of
from thinwire.training.cross_entropy import unembed_loss, unembed_support_loss

seeds = st.integers(0, 2**31 - 1)
close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-5)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def thin(shape: tuple[int, int], density: float, seed: int) -> tuple[Tensor, Support]:
    """A matrix, zero in places, and its support."""
    weight = normal(seed, *shape)
    weight *= torch.rand(shape, generator=torch.Generator().manual_seed(seed + 1)) < density
    return weight, support_of(np.flatnonzero(weight.numpy()), shape)


def test_entries_are_listed_by_row_and_by_column() -> None:
    support = support_of(np.array([1, 3, 5]), (2, 3))  # (0, 1), (1, 0), (1, 2)
    assert (support.starts.tolist(), support.columns.tolist()) == ([0, 1, 3], [1, 0, 2])
    assert (support.column_starts.tolist(), support.rows.tolist()) == ([0, 1, 2, 3], [1, 0, 1])
    assert support.order.tolist() == [1, 0, 2] and len(support) == 3


@settings(max_examples=40)
@given(st.integers(1, 1200), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), seeds)
def test_value_and_gradients_of_the_map_equal_the_dense_ones(
    n_tokens: int, n_out: int, n_in: int, density: float, seed: int
) -> None:
    weight, support = thin((n_out, n_in), density, seed)
    bias, upstream = normal(seed + 2, n_out), normal(seed + 3, n_tokens, n_out)
    x, probes = normal(seed + 4, n_tokens, n_in), normal(seed + 5, 3, n_in).sign()
    dense = [t.clone().requires_grad_() for t in (x, weight, bias)]
    expected = F.linear(*dense)
    expected.backward(upstream)
    values = weight.view(-1)[torch.from_numpy(support.flat)].clone().requires_grad_()
    probe = torch.zeros(n_out, 3, requires_grad=True)
    x, bias = x.requires_grad_(), bias.requires_grad_()
    found = support_linear(x, SupportMatrix(support, values, probes, probe), bias)
    found.backward(upstream)
    close(found, expected)
    gradient = dense[1].grad
    assert gradient is not None
    for sparse, plain in (
        (x.grad, dense[0].grad),
        (values.grad, gradient.view(-1)[torch.from_numpy(support.flat)]),
        (bias.grad, dense[2].grad),
        (probe.grad, gradient @ probes.T),
    ):
        torch.testing.assert_close(sparse, plain, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("with_bigram", [True, False])
def test_the_loss_over_stored_entries_equals_the_one_over_all(with_bigram: bool) -> None:
    """1100 tokens are two chunks and a part of one."""
    weight, support = thin((50, 12), 0.4, 0)
    tokens, targets = torch.randint(0, 50, (2, 1100), generator=torch.Generator().manual_seed(0))
    x, table, plain = (t.requires_grad_() for t in (normal(1, 1100, 12), normal(2, 50, 50), weight.clone()))
    bigram = table if with_bigram else None
    expected = unembed_loss(x, plain, bigram, tokens, targets)
    (3 * expected).backward()
    leaves = [weight.view(-1)[torch.from_numpy(support.flat)], torch.zeros(50, 2), x, table]
    values, probe, again, table_again = (t.detach().clone().requires_grad_() for t in leaves)
    matrix = SupportMatrix(support, values, normal(3, 2, 12).sign(), probe)
    found = unembed_support_loss(again, matrix, table_again if with_bigram else None, tokens, targets)
    (3 * found).backward()
    close(found, expected)
    assert plain.grad is not None
    pairs = [(again.grad, x.grad), (values.grad, plain.grad.view(-1)[torch.from_numpy(support.flat)])]
    pairs += [(probe.grad, plain.grad @ matrix.probes.T), (table_again.grad, table.grad)]
    for sparse, dense in pairs:
        torch.testing.assert_close(sparse, dense, rtol=1e-4, atol=1e-6)


def test_probes_estimate_the_norm_of_the_whole_gradient() -> None:
    """20 gradients of rank about 8, 64 probes each: on average right to a few per cent."""
    ratios = []
    for seed in range(20):
        gradient = normal(seed, 30, 8) @ normal(seed + 100, 8, 40)
        signs = normal(seed + 200, 64, 40).sign()
        ratios.append(float((gradient @ signs.T).square().sum() / 64 / gradient.square().sum()))
    assert np.mean(ratios) == pytest.approx(1, abs=0.05) and np.std(ratios) < 0.12


@settings(max_examples=150)
@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from(["rows", "columns", None]),
    st.integers(0, 5),
    st.floats(0, 1),
    st.booleans(),
    seeds,
)
def test_projection_of_entries_keeps_what_the_reference_keeps(
    shape: tuple[int, int], protect: Protect, min_per_line: int, density: float, ties: bool, seed: int
) -> None:
    """With `ties` all magnitudes are 1, 2 or 3."""
    weight, support = thin(shape, density, seed)
    if ties:
        weight = weight.sign() * (1 + weight.abs().mul(10).to(torch.int64) % 3)
    k = int(np.random.default_rng(seed).integers(1, weight.numel() + 1))
    values = weight.view(-1).numpy()[support.flat].copy()
    project_entries_(values, support, k, protect, min_per_line)
    expected = torch.where(projection_mask(weight, k, protect, min_per_line), weight, 0)
    found = torch.zeros(weight.numel())
    found[torch.from_numpy(support.flat)] = torch.from_numpy(values)
    assert torch.equal(found.view(shape), expected)


def test_adam_is_torchs_and_counts_its_own_steps() -> None:
    """Two weights of one step's difference in age: each moves as in a torch optimizer of its own."""
    values = torch.tensor([1.0, -2.0])
    m, v, age = torch.zeros(2), torch.zeros(2), torch.zeros(2, dtype=torch.int32)
    singles = [torch.tensor([value], requires_grad=True) for value in (1.0, -2.0)]
    optimizers = [torch.optim.Adam([single], lr=0.1, betas=(0.9, 0.95), eps=0.1) for single in singles]
    for step in range(5):
        gradient = normal(step, 2)
        for single, optimizer, g in zip(singles, optimizers, gradient, strict=True):
            single.grad = g.reshape(1)
            optimizer.step()
        adam_(values.numpy(), (gradient * 4).numpy(), m.numpy(), v.numpy(), age.numpy(), 0.25, 0.1, (0.9, 0.95), 0.1)
        if step == 2:  # the second one begins anew
            m[1] = v[1] = age[1] = 0
            optimizers[1] = torch.optim.Adam([singles[1]], lr=0.1, betas=(0.9, 0.95), eps=0.1)
        close(values, torch.cat([single.detach() for single in singles]))
    assert age.tolist() == [5, 2]


@pytest.mark.parametrize("n_blocks", [2, 3, 7])
@pytest.mark.parametrize("n_tokens", [700, 9000])
def test_any_number_of_blocks_gives_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch, n_tokens: int, n_blocks: int
) -> None:
    """A block is what one thread does."""
    weight, support = thin((48, 64), 0.2, 0)
    found = []
    for blocks in (1, n_blocks):
        for module in (kernels, products):
            monkeypatch.setattr(module, "count_blocks", lambda blocks=blocks: blocks)
        values = weight.view(-1)[torch.from_numpy(support.flat)].requires_grad_()
        x, probe = normal(1, n_tokens, 64).requires_grad_(), torch.zeros(48, 2, requires_grad=True)
        bias = normal(2, 48).requires_grad_()
        y = support_linear(x, SupportMatrix(support, values, normal(2, 2, 64).sign(), probe), bias)
        y.backward(normal(3, n_tokens, 48))
        assert values.grad is not None
        moments = (np.zeros(len(support), np.float32), np.zeros(len(support), np.float32))
        age = np.zeros(len(support), np.int32)
        moved = values.detach().clone()
        adam_(moved.numpy(), values.grad.numpy(), *moments, age, 1.0, 0.1, (0.9, 0.95), 0.1)
        found.append([y.detach(), x.grad, values.grad, probe.grad, bias.grad, moved])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
