"""Rewrites: ways to make a program simpler, each a choice of expressions and of what may stand in their place.

A rewrite offers, for one expression, replacements from the simplest on. None is taken on faith: `simplify` keeps a
replacement only where the answers still agree. Numbers that a replacement needs, such as the value at which a channel
is held, are taken from train prompts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from thinwire.decompile.evaluate import Batch
from thinwire.decompile.expressions import (
    Activated,
    Attended,
    Constant,
    Expression,
    OfPlace,
    Pattern,
    Product,
    Scale,
    Step,
    Sum,
    Survivor,
    walk,
)
from thinwire.decompile.fold import EVENLY
from thinwire.decompile.program import Program

Replacement = dict[Expression, Expression]


@dataclass(frozen=True, eq=False)
class Scene:
    """A program and the train prompts that numbers are taken from."""

    program: Program
    train: Batch

    @cached_property
    def parts(self) -> list[Expression]:
        """Every expression of the program, each after those that it is made of."""
        return list(walk(*self.program.outputs))

    @cached_property
    def looked_at(self) -> set[Expression]:
        """Expressions that heads look at, whose values count at every token; those of the others at the last alone."""
        heads = [x for x in self.parts if isinstance(x, Attended)]
        return {y for x in heads for y in walk(x.value, *(key for _, key in x.pattern.scores))}

    def values(self, x: Expression) -> np.ndarray:
        """What `x` is worth at all tokens where it counts, one after the other."""
        return self.train.at_tokens(x)[self.train.inside] if x in self.looked_at else self.train.last(x)

    def mean(self, x: Expression) -> Constant:
        return Constant(float(self.values(x).mean()))

    def found(self, *kinds: type[Expression]) -> list[Expression]:
        return [x for x in self.parts if isinstance(x, kinds)]


@dataclass(frozen=True)
class Rewrite:
    """One way to simplify."""

    words: str
    """What it does, as a clause."""
    offers: Callable[[Scene], Iterator[Sequence[Replacement]]]
    """For each expression that it may change, in the order to try them: what may stand there, the simplest first."""


def _places(scene: Scene) -> Iterator[Sequence[Replacement]]:
    for x in scene.found(OfPlace):
        yield [{x: scene.mean(x)}]


def _survivors(scene: Scene) -> Iterator[Sequence[Replacement]]:
    for x in scene.found(Survivor):
        assert isinstance(x, Survivor)
        yield [{x: x.unrivalled}, {x: Constant(0.0)}]


def _scales(scene: Scene) -> Iterator[Sequence[Replacement]]:
    for x in scene.found(Scale):
        yield [{x: scene.mean(x)}]


def _heads(scene: Scene) -> Iterator[Sequence[Replacement]]:
    """A head that brings a constant, that looks evenly, that has fewer scores, or the same query at every token."""
    for x in scene.found(Attended):
        assert isinstance(x, Attended)
        scores = x.pattern.scores
        looks = [EVENLY] if scores else []
        looks += [Pattern((score,)) for score in scores] if len(scores) > 1 else []
        looks += [Pattern(tuple((scene.mean(query), key) for query, key in scores))]
        for i, (query, key) in enumerate(scores):
            looks.append(Pattern((*scores[:i], *scores[i + 1 :])))
            looks.append(Pattern((*scores[:i], (scene.mean(query), key), *scores[i + 1 :])))
        yield [{x: scene.mean(x)}, *({x: Attended(look, x.value)} for look in looks)]


def _terms(scene: Scene) -> Iterator[Sequence[Replacement]]:
    """Terms of sums, those that vary least first."""
    found = []
    for x in scene.found(Sum):
        assert isinstance(x, Sum)
        for i, (weight, term) in enumerate(x.terms):
            values = weight * scene.values(term)
            less = Sum(x.constant + float(values.mean()), (*x.terms[:i], *x.terms[i + 1 :]))
            found.append((float(values.std()), {x: less}))
    for _, replacement in sorted(found, key=lambda item: item[0]):
        yield [replacement]


def _products(scene: Scene) -> Iterator[Sequence[Replacement]]:
    for x in scene.found(Product):
        assert isinstance(x, Product)
        yield [{x: Product(x.left, scene.mean(x.right))}, {x: Product(scene.mean(x.left), x.right)}]


def _neurons(scene: Scene) -> Iterator[Sequence[Replacement]]:
    """A neuron held, as a straight line, or as a condition."""
    for x in scene.found(Activated):
        assert isinstance(x, Activated)
        inputs, outputs = scene.values(x.input), scene.values(x)
        yield [{x: scene.mean(x)}, {x: line(x.input, inputs, outputs)}, {x: step(x.input, inputs, outputs)}]


def line(x: Expression, inputs: np.ndarray, outputs: np.ndarray) -> Expression:
    """The straight line through (input, output) with the smallest squared error."""
    if np.ptp(inputs) == 0:
        return Constant(float(outputs.mean()))
    slope, start = np.polyfit(inputs, outputs, 1)
    return Sum(float(start), ((float(slope), x),))


def step(x: Expression, inputs: np.ndarray, outputs: np.ndarray) -> Expression:
    """The condition on the input that leaves the smallest squared error of the output."""
    order = np.argsort(inputs, kind="stable")
    sorted_inputs, sums, n = inputs[order], np.cumsum(outputs[order]), len(inputs)
    below = np.arange(1, n)
    explained = sums[:-1] ** 2 / below + (sums[-1] - sums[:-1]) ** 2 / (n - below)
    explained = np.where(np.diff(sorted_inputs) > 0, explained, -np.inf)
    if not np.isfinite(explained).any():
        return Constant(float(outputs.mean()))
    cut = int(explained.argmax())
    threshold = float(sorted_inputs[cut] + sorted_inputs[cut + 1]) / 2
    return Step(x, threshold, float(sums[cut] / below[cut]), float((sums[-1] - sums[cut]) / (n - below[cut])))


FIRST = (
    Rewrite("positions held at their mean", _places),
    Rewrite("AbsTopK left out", _survivors),
    Rewrite("RMSNorm scales held at their mean", _scales),
)
"""After these three, what a block reads of the embedding is a table over tokens."""
REWRITES = (
    *FIRST,
    Rewrite("one factor of a product held", _products),
    Rewrite("heads simplified", _heads),
    Rewrite("neurons simplified", _neurons),
    Rewrite("terms left out", _terms),
)
