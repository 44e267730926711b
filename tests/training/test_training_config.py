import pytest

from thinwire.model.config import ModelConfig
from thinwire.training.config import RunConfig, TrainConfig


def test_a_density_below_the_floor_is_refused_with_the_floor_named() -> None:
    # Every line keeps 4 of 256 entries: 4 / 256 = 0.015625.
    with pytest.raises(ValueError, match=r"density 0\.01 is below the floor 0\.015625 .*raise train\.density"):
        RunConfig(train=TrainConfig(density=0.01))


def test_the_floor_itself_is_allowed_and_moves_with_width_and_minimum() -> None:
    RunConfig(train=TrainConfig(density=0.015625))
    RunConfig(model=ModelConfig(d_model=512), train=TrainConfig(density=0.01))
    RunConfig(train=TrainConfig(density=0.01, min_per_line=2))


def test_a_dense_model_has_no_floor() -> None:
    RunConfig(model=ModelConfig(d_model=16, d_head=4), train=TrainConfig(density=1.0, min_per_line=20))


@pytest.mark.parametrize("density", [0.0, -0.1, 1.5])
def test_a_density_outside_its_range_is_refused(density: float) -> None:
    with pytest.raises(ValueError, match=r"is not in \(0, 1\]"):
        TrainConfig(density=density)


def test_the_number_of_steps_is_rounded_up() -> None:
    # 64 sequences of 64 tokens are 4096 tokens a step: 4,500,000 / 4096 = 1098.6.
    assert RunConfig().n_steps == 1099
