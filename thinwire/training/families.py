"""Families: the models that a frontier is drawn through, each a recipe with overrides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from thinwire.data.config import DataConfig
from thinwire.errors import UserError
from thinwire.training import recipes
from thinwire.training.config import RunConfig

CORPUS = ("stdlib", "stdlib-tests", "installed:sympy", "installed:networkx")
"""Of `frontier-cpu`; the packages come with the extra `corpus`."""


@dataclass(frozen=True)
class Member:
    """One model of a family."""

    name: str
    """Of its directory."""
    config: RunConfig


def frontier_cpu() -> tuple[Member, ...]:
    """Twenty models of two layers on 20M tokens: days on two cores, point by point.

    Five dense widths and nine sparse models from 1 weight in 4 to 1 in 1,000, three seeds for the two that the headline
    compares, and as controls a dense model with AbsTopK and a sparse one without. Cheap ones first.
    """
    base = recipes.demo()
    base = replace(
        base,
        data=DataConfig(source=CORPUS),
        model=replace(base.model, vocab_size=1280),
        train=replace(base.train, n_tokens=20_000_000),
        threads=1,
    )
    dense = [_member(base, width, Fraction(1)) for width in (32, 48, 64, 96, 128)]
    sparse = [
        _member(base, width, density)
        for width, densities in (
            (256, (Fraction(1, 4), Fraction(1, 16), Fraction(1, 64))),
            (384, (Fraction(1, 16),)),
            (512, (Fraction(1, 16), Fraction(1, 64), Fraction(1, 256))),
            (1024, (Fraction(1, 64), Fraction(1, 1000))),
        )
        for density in densities
    ]
    again = [
        _member(base, *model, seed=seed) for model in ((48, Fraction(1)), (384, Fraction(1, 16))) for seed in (1, 2)
    ]
    controls = [
        _member(base, 48, Fraction(1), activation_frac=0.25, suffix="-topk"),
        _member(base, 384, Fraction(1, 16), activation_frac=1.0, suffix="-no-topk"),
    ]
    return (*dense, *sparse, *again, *controls)


def _member(
    base: RunConfig,
    width: int,
    density: Fraction,
    *,
    seed: int = 0,
    activation_frac: float | None = None,
    suffix: str = "",
) -> Member:
    """A model of `base`'s data and length; AbsTopK follows the density unless told otherwise.

    Where the density leaves a line fewer weights than `min_per_line`, that is lowered to what it leaves.
    """
    dense, floor = density == 1, max(1, int(width * density))
    kept = activation_frac if activation_frac is not None else 1.0 if dense else base.model.activation_frac
    name = f"d{width}-{'dense' if dense else f'1in{1 / density}'}{suffix}" + (f"-s{seed}" if seed else "")
    return Member(
        name,
        replace(
            base,
            model=replace(base.model, d_model=width, activation_frac=kept),
            train=replace(
                base.train, density=float(density), seed=seed, min_per_line=min(base.train.min_per_line, floor)
            ),
        ),
    )


FAMILIES: dict[str, Callable[[], Sequence[Member]]] = {"frontier-cpu": frontier_cpu}


def family(name: str) -> Sequence[Member]:
    """The members of a family. Raises `UserError` naming the families there are."""
    if name not in FAMILIES:
        raise UserError(f"unknown family '{name}'; there are: {', '.join(FAMILIES)}")
    return FAMILIES[name]()
