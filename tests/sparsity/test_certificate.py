"""The certificate never lets a step differ from the full computation, and it is not vacuous."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thinwire.sparsity.certificate import SLACK, certified_lines, step_bound
from thinwire.sparsity.projection import Protect, projection_mask
from thinwire.sparsity.support import project_entries_, support_of
from thinwire.training.optimizer import BETAS, EPS

seeds = st.integers(0, 2**31 - 1)
protects = st.sampled_from(["rows", "columns", None])


def moved(gradients: np.ndarray, rate: float, eps: float) -> np.ndarray:
    """How far Adam moves weights in the last of the steps whose gradients (t, ...) are given; in float32."""
    m, v = np.zeros((2, *gradients.shape[1:]), np.float32)
    for g in gradients.astype(np.float32):
        m = np.float32(BETAS[0]) * m + np.float32(1 - BETAS[0]) * g
        v = np.float32(BETAS[1]) * v + np.float32(1 - BETAS[1]) * g * g
    t = len(gradients)
    mean, square = m / np.float32(1 - BETAS[0] ** t), v / np.float32(1 - BETAS[1] ** t)
    return np.float32(rate) * mean / (np.sqrt(square) + np.float32(eps) + np.float32(1e-30))


def worst(t: int, shape: tuple[int, ...]) -> np.ndarray:
    """Gradients of t steps with which Cauchy and Schwarz's bound is an equality, and Adam's eps hardly counts."""
    ages = np.arange(t - 1, -1, -1)
    return np.broadcast_to(((BETAS[0] / BETAS[1]) ** ages * 1e4)[:, None, None], (t, *shape))


@pytest.mark.parametrize(("t", "bound"), [(1, 1.000), (10, 1.012), (40, 1.103), (400, 1.165)])
def test_the_bound_is_reached_by_no_number_of_steps_and_neared_by_many(t: int, bound: float) -> None:
    """The values of c_t are those of its formula, worked out by hand in the module's docstring."""
    reached = float(moved(worst(t, (1, 1)), 1.0, 0.0)[0, 0])
    assert reached == pytest.approx(bound, abs=6e-4)
    assert reached <= step_bound(*BETAS) * (1 + 1e-6)
    assert step_bound(*BETAS) == pytest.approx(1.1649, abs=1e-4)


def weights(generator: np.random.Generator, shape: tuple[int, int], kind: str, reach: float) -> np.ndarray:
    """A matrix with zeros; `near` puts the survivors close to twice the reach, on both sides of it."""
    share = generator.uniform(0.05, 0.9)
    w = generator.normal(size=shape)
    if kind == "near":
        w = np.sign(w) * 2 * reach * (1 + generator.choice([-1e-3, -3e-5, 2.5e-5, 3e-5, 1e-3, 0.5, 3], size=shape))
    w[generator.random(shape) > share] = 0
    if kind == "dead":
        w[generator.integers(shape[0])] = 0
        w[:, generator.integers(shape[1])] = 0
    return w.astype(np.float32)


def step(w: np.ndarray, generator: np.random.Generator, kind: str, t: int, rate: float) -> np.ndarray:
    """All weights after Adam's step, zeroed ones included; `near` pushes them as the bound allows at worst."""
    if kind == "near":
        # Survivors shrink, zeroed weights grow.
        sign = np.where(w == 0, generator.choice([-1.0, 1.0], size=w.shape), np.sign(w))
        return w - moved(worst(t, w.shape) * sign, rate, EPS)
    gradients = generator.normal(size=(t, *w.shape)) * 10 ** generator.uniform(-2, 2)
    if kind == "dead":
        gradients[:, generator.integers(w.shape[0])] = 0
    return w - moved(gradients, rate, EPS)


@settings(max_examples=400)
@given(
    st.tuples(st.integers(2, 9), st.integers(2, 9)),
    st.sampled_from(["random", "near", "dead"]),
    protects,
    st.integers(0, 4),
    st.integers(1, 60),
    seeds,
)
def test_no_zeroed_weight_of_a_certified_line_enters(
    shape: tuple[int, int], kind: str, protect: Protect, min_per_line: int, t: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    rate = float(10 ** generator.uniform(-4, 0))
    reach = rate * step_bound(*BETAS)
    w = weights(generator, shape, kind, reach)
    support = support_of(np.flatnonzero(w), shape)
    n_lines = shape[1] if protect == "columns" else shape[0]
    least = min(min_per_line, shape[1 if protect == "rows" else 0]) * n_lines if protect else 1
    k = int(generator.integers(max(1, least), max(1, least, len(support)) + 1))
    certified = certified_lines(np.abs(w.reshape(-1)[support.flat]), support, k, protect, min_per_line, reach)
    full = step(w, generator, kind, t, rate)
    expected = np.where(projection_mask(torch.from_numpy(full), k, protect, min_per_line).numpy(), full, 0)
    by_line = (np.s_[:, certified]) if protect == "columns" else (np.s_[certified])
    assert not (expected[by_line].astype(bool) & (w[by_line] == 0)).any()
    stored = w != 0
    stored[np.s_[:, ~certified] if protect == "columns" else ~certified] = True
    entries = support_of(np.flatnonzero(stored), shape)
    values = full.reshape(-1)[entries.flat]
    project_entries_(values, entries, k, protect, min_per_line)
    alone = np.zeros(w.size, np.float32)
    alone[entries.flat] = values
    if certified.any():
        assert np.array_equal(alone.reshape(shape), expected)


def test_what_is_far_from_the_reach_is_certified() -> None:
    """4 x 8, two entries of 1.0 in each row, reach 0.1: nothing can enter."""
    w = np.zeros((4, 8), np.float32)
    w[:, 2:4] = 1.0
    support = support_of(np.flatnonzero(w), w.shape)
    assert certified_lines(np.ones(8), support, 8, "rows", 1, 0.1).tolist() == [True] * 4
    assert certified_lines(np.ones(8), support, 8, None, 0, 0.1).tolist() == [True] * 4
    assert certified_lines(np.ones(8), support, 9, "rows", 1, 0.1).tolist() == [False] * 4  # one more may enter
    assert certified_lines(np.ones(8), support, 8, "rows", 1, 0.6).tolist() == [False] * 4


def test_a_row_whose_protected_entries_are_small_fails_alone() -> None:
    w = np.ones((3, 4), np.float32)
    w[:, 2:] = 0
    w[1, :2] = 0.15  # below twice the reach
    support = support_of(np.flatnonzero(w), w.shape)
    magnitudes = np.abs(w.reshape(-1)[support.flat])
    assert certified_lines(magnitudes, support, 6, "rows", 2, 0.1).tolist() == [True, False, True]
    # Of 5 kept entries 3 are protected; the unprotected ones are 1, 1 and 0.15, of which two stay.
    assert certified_lines(magnitudes, support, 5, "rows", 1, 0.1).tolist() == [True, False, True]
    assert certified_lines(magnitudes, support, 6, "rows", 1, 0.1).tolist() == [False] * 3


def test_the_threshold_needs_its_slack() -> None:
    support = support_of(np.arange(2), (1, 2))
    exactly = np.float32(0.2)
    assert not certified_lines(np.full(2, exactly), support, 2, None, 0, 0.1).any()
    enough = exactly * (1 + 4 * SLACK)
    assert certified_lines(np.full(2, enough), support, 2, None, 0, 0.1).all()
    assert math.isclose(enough, 0.2, rel_tol=1e-4)
