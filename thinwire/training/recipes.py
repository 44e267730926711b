"""Recipes: named functions that return a RunConfig. An experiment is a recipe and overrides, never a new script."""

from collections.abc import Callable
from dataclasses import replace

from thinwire.errors import UserError
from thinwire.model.config import ModelConfig
from thinwire.training.config import RunConfig, TrainConfig

DEMO_TOKENS = 4_500_000


def demo() -> RunConfig:
    """Two layers on the standard library's own source: a few minutes on two cores.

    Two departures from the paper, both measured (docs/log.md): positions are learned, as in the released code, because
    at this length of training the tasks are not learned without them; and the density falls by the same factor every
    step, which is faster than by the same amount and, over five seeds, no worse in loss, tasks or circuit size.
    """
    return RunConfig(
        recipe="demo",
        model=ModelConfig(positions="learned"),
        train=TrainConfig(n_tokens=DEMO_TOKENS, anneal="geometric"),
    )


def demo_dense(d_model: int = 32) -> RunConfig:
    """The dense twin of `demo`: same class, data, steps and constants; density 1, no AbsTopK, narrower."""
    return RunConfig(
        recipe="demo-dense",
        model=ModelConfig(d_model=d_model, activation_frac=1.0, positions="learned"),
        train=TrainConfig(n_tokens=DEMO_TOKENS, density=1.0),
    )


def small() -> RunConfig:
    """Four layers of 512 channels at a third of `demo`'s density: for a GPU, or for patience."""
    return RunConfig(
        recipe="small",
        model=ModelConfig(vocab_size=2048, context=128, n_layer=4, d_model=512),
        train=TrainConfig(n_tokens=50_000_000, density=1 / 64, eval_every_steps=200, checkpoint_every_steps=500),
    )


def small_dense(d_model: int = 64) -> RunConfig:
    """The dense twin of `small`; choose the width at which the held-out losses are alike."""
    return _dense(small(), "small-dense", d_model)


def paper_4x() -> RunConfig:
    """The released example: 8 layers of 1024 channels, 1 weight in 64, 32e9 tokens (Gao et al. 2025)."""
    return _paper("paper-4x", d_model=1024, density=1 / 64, micro_batches=16)


def paper_8x() -> RunConfig:
    """Twice as wide as `paper-4x` at the same number of nonzeros: 1 weight in 256."""
    return _paper("paper-8x", d_model=2048, density=1 / 256, micro_batches=32)


def paper_dense(d_model: int = 256) -> RunConfig:
    """The dense twin of the paper's models; choose the width at which the held-out losses are alike."""
    return _dense(paper_4x(), "paper-dense", d_model)


def _paper(name: str, d_model: int, density: float, micro_batches: int) -> RunConfig:
    """Constants of the released recipe; the parts of a batch are ours, so that one GPU can hold it."""
    return RunConfig(
        recipe=name,
        model=ModelConfig(vocab_size=2048, context=256, n_layer=8, d_model=d_model),
        train=TrainConfig(
            n_tokens=32_000_000_000,
            batch_size=512,
            micro_batches=micro_batches,
            density=density,
            eval_every_steps=500,
            checkpoint_every_steps=1000,
        ),
    )


def _dense(sparse: RunConfig, name: str, d_model: int) -> RunConfig:
    return replace(
        sparse,
        recipe=name,
        model=replace(sparse.model, d_model=d_model, activation_frac=1.0),
        train=replace(sparse.train, density=1.0),
    )


RECIPES: dict[str, Callable[[], RunConfig]] = {
    "demo": demo,
    "demo-dense": demo_dense,
    "small": small,
    "small-dense": small_dense,
    "paper-4x": paper_4x,
    "paper-8x": paper_8x,
    "paper-dense": paper_dense,
}


def recipe(name: str) -> RunConfig:
    """The RunConfig of a recipe. Raises `UserError` naming the recipes there are."""
    if name not in RECIPES:
        raise UserError(f"unknown recipe '{name}'; there are: {', '.join(RECIPES)}")
    return RECIPES[name]()
