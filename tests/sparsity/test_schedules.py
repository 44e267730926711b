import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinwire.sparsity.schedules import Anneal, density_at, learning_rate_at


def test_density_falls_linearly_between_its_two_marks() -> None:
    # 100 steps, target 0.2, from 10 % to 50 %: after step s the share (s + 1) / 100 is done.
    expected = {0: 1.0, 9: 1.0, 19: 0.8, 29: 0.6, 39: 0.4, 49: 0.2, 50: 0.2, 99: 0.2}
    assert {s: density_at(s, 100, 0.2, 0.1, 0.5) for s in expected} == pytest.approx(expected)


def test_geometric_annealing_falls_by_the_same_factor_every_step() -> None:
    # target 1/16 between 10 % and 50 % of 100 steps: each tenth of training halves the density.
    expected = {9: 1.0, 19: 0.5, 29: 0.25, 39: 0.125, 49: 0.0625, 99: 0.0625}
    assert {s: density_at(s, 100, 1 / 16, 0.1, 0.5, "geometric") for s in expected} == pytest.approx(expected)


def test_the_rate_warms_up_then_falls_to_zero_at_the_final_density() -> None:
    # 100 steps, 10 of warm-up, then 1 - (s - 10) / 90; the density is at its target throughout.
    expected = {0: 0.1, 4: 0.5, 9: 1.0, 10: 1.0, 55: 0.5, 99: 1 / 90}
    assert {s: learning_rate_at(s, 100, 1.0, 0.1, 0.25, 0.25) for s in expected} == pytest.approx(expected)


def test_the_sharkfin_grows_as_one_over_the_root_of_the_density() -> None:
    # sqrt(0.04 / 1) = 0.2 while dense, sqrt(0.04 / 0.16) = 0.5 on the way.
    assert learning_rate_at(10, 100, 1.0, 0.1, 1.0, 0.04) == pytest.approx(0.2)
    assert learning_rate_at(10, 100, 1.0, 0.1, 0.16, 0.04) == pytest.approx(0.5)


@given(
    st.integers(1, 10_000),
    st.floats(0.001, 1.0),
    st.floats(0.0, 0.4),
    st.floats(0.5, 1.0),
    st.sampled_from(["linear", "geometric"]),
)
def test_density_never_rises_and_ends_at_its_target(
    n_steps: int, target: float, start: float, end: float, anneal: Anneal
) -> None:
    values = [density_at(step, n_steps, target, start, end, anneal) for step in range(min(n_steps, 50))]
    assert all(a >= b for a, b in zip(values, values[1:], strict=False))
    assert all(target - 1e-12 <= value <= 1.0 for value in values)
    assert density_at(n_steps - 1, n_steps, target, start, end, anneal) == pytest.approx(target)


@given(st.integers(1, 1000), st.floats(0.0, 1.0))
def test_the_rate_is_positive_and_never_above_its_peak(n_steps: int, warmup: float) -> None:
    rates = [learning_rate_at(step, n_steps, 0.5, warmup, 0.1, 0.1) for step in range(n_steps)]
    assert all(0 < rate <= 0.5 for rate in rates) and not any(map(math.isnan, rates))
