"""Recipes: named functions that return a RunConfig. An experiment is a recipe and overrides, never a new script."""

from collections.abc import Callable

from thinwire.errors import UserError
from thinwire.model.config import ModelConfig
from thinwire.training.config import RunConfig, TrainConfig


def demo() -> RunConfig:
    """Two layers on the standard library's own source: a few minutes on two cores."""
    return RunConfig(recipe="demo")


def demo_dense(d_model: int = 32) -> RunConfig:
    """The dense twin of `demo`: same class, data, steps and constants; density 1, no AbsTopK, narrower."""
    return RunConfig(
        recipe="demo_dense",
        model=ModelConfig(d_model=d_model, activation_frac=1.0),
        train=TrainConfig(density=1.0),
    )


RECIPES: dict[str, Callable[[], RunConfig]] = {"demo": demo, "demo_dense": demo_dense}


def recipe(name: str) -> RunConfig:
    """The RunConfig of a recipe. Raises `UserError` naming the recipes there are."""
    if name not in RECIPES:
        raise UserError(f"unknown recipe '{name}'; there are: {', '.join(RECIPES)}")
    return RECIPES[name]()
