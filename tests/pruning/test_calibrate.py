"""Calibration lowers the loss with a scale and a shift, and says nothing where it cannot."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thinwire.circuits.graph import Calibration
from thinwire.circuits.prompts import task_loss
from thinwire.pruning.calibrate import calibrate


def loss(difference: torch.Tensor, sign: torch.Tensor, calibration: Calibration) -> float:
    return float(task_loss(calibration.scale * difference + calibration.shift, sign))


def test_the_fit_finds_the_minimum() -> None:
    """Differences +1 and -1, right on 3 of 4 sides each: the best scale gives probability 3/4, so log 3; no shift."""
    difference = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0, 1.0])
    sign = torch.tensor([1.0] * 4 + [-1.0] * 4)
    found = calibrate(difference, sign)
    assert found.scale == pytest.approx(math.log(3), abs=1e-4)
    assert found.shift == pytest.approx(0.0, abs=1e-4)


def test_a_common_offset_is_shifted_away() -> None:
    """The same with 5 added to every difference: scale x 5 + shift = 0."""
    difference = torch.tensor([6.0, 6.0, 6.0, 4.0, 4.0, 4.0, 4.0, 6.0])
    sign = torch.tensor([1.0] * 4 + [-1.0] * 4)
    found = calibrate(difference, sign)
    assert found.scale == pytest.approx(math.log(3), rel=1e-2)
    assert found.shift == pytest.approx(-5 * math.log(3), rel=1e-2)


@given(st.lists(st.tuples(st.floats(-50, 50, width=32), st.booleans()), min_size=2, max_size=20))
def test_calibration_never_raises_the_loss(points: list[tuple[float, bool]]) -> None:
    difference = torch.tensor([value for value, _ in points])
    sign = torch.tensor([1.0 if right else -1.0 for _, right in points])
    found = calibrate(difference, sign)
    assert math.isfinite(found.scale) and math.isfinite(found.shift)
    assert loss(difference.double(), sign.double(), found) <= loss(difference.double(), sign.double(), Calibration())


def test_what_cannot_be_fitted_is_left_as_it_is() -> None:
    nan = torch.tensor([math.nan, 1.0])
    assert calibrate(nan, torch.tensor([1.0, -1.0])) == Calibration()
    infinite = torch.tensor([math.inf, -1.0])
    assert calibrate(infinite, torch.tensor([-1.0, 1.0])) == Calibration()


def test_the_same_numbers_give_the_same_fit_also_without_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    difference, sign = torch.randn(64, generator=generator), torch.ones(64)
    sign[32:] = -1
    with torch.no_grad():
        first = calibrate(difference, sign)
    assert calibrate(difference.requires_grad_(), sign) == first
    assert first != Calibration()
