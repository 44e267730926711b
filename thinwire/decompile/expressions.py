"""Expressions: what a circuit computes at every token, as a graph of few kinds of nodes.

An expression stands for one number at each token of a prompt. Expressions are immutable and compared by identity: one
that is used twice is one object, so that a rewrite replaces it everywhere and what it is worth is computed once.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float64

ActivationName = Literal["gelu", "gelu_tanh", "relu"]


@dataclass(frozen=True, eq=False)
class Constant:
    """The same number at every token."""

    value: float


@dataclass(frozen=True, eq=False)
class OfToken:
    """A number for each token of the vocabulary."""

    values: Float64[np.ndarray, " V"]

    @cached_property
    def rest(self) -> float:
        """The most frequent value, that of all tokens that are not listed."""
        values, counts = np.unique(self.values, return_counts=True)
        return float(values[counts.argmax()])

    @cached_property
    def listed(self) -> list[int]:
        """Tokens that have another value."""
        return np.flatnonzero(self.values != self.rest).tolist()


@dataclass(frozen=True, eq=False)
class OfPlace:
    """A number for each place in the context, from the first token on."""

    values: Float64[np.ndarray, " T"]


@dataclass(frozen=True, eq=False)
class Sum:
    """constant + the weighted sum of the terms."""

    constant: float
    terms: "tuple[tuple[float, Expression], ...]"
    """(weight, what is weighted)."""


@dataclass(frozen=True, eq=False)
class Product:
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, eq=False)
class Scale:
    """What an RMSNorm multiplies by: 1 / sqrt((constant + the sum of the squares) / width + eps)."""

    constant: float
    """Sum of the squares of all channels that do not change."""
    inputs: "tuple[Expression, ...]"
    width: int
    eps: float


@dataclass(frozen=True, eq=False)
class Activated:
    """A neuron's function."""

    function: ActivationName
    input: "Expression"


@dataclass(frozen=True, eq=False)
class Step:
    """`low` below the threshold, `high` from it on."""

    input: "Expression"
    threshold: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Rivals:
    """All channels of a site where AbsTopK acts: they compete for the places that it leaves.

    Channel c is worth bias[c] + weights[c] @ inputs, through the activation if there is one. `n_kept` of the largest
    magnitudes stay, of equal ones those of lower number.
    """

    inputs: "tuple[Expression, ...]"
    weights: Float64[np.ndarray, "W n"]
    bias: Float64[np.ndarray, " W"]
    n_kept: int
    asked: tuple[int, ...]
    """Channels that anybody reads."""
    activation: ActivationName | None = None


@dataclass(frozen=True, eq=False)
class Survivor:
    """One channel of `rivals`, 0 where AbsTopK takes it."""

    rivals: Rivals
    channel: int

    @cached_property
    def unrivalled(self) -> "Expression":
        """The channel if AbsTopK always leaves it."""
        weights, rivals = self.rivals.weights[self.channel], self.rivals
        terms = tuple((float(w), x) for w, x in zip(weights, rivals.inputs, strict=True) if w != 0)
        value = Sum(float(rivals.bias[self.channel]), terms)
        return Activated(rivals.activation, value) if rivals.activation else value


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where a head looks: softmax, over the tokens so far, of the sum of query x key. Without scores at all alike."""

    scores: "tuple[tuple[Expression, Expression], ...]" = ()
    """(query at the token that looks, key at the token looked at), 1/sqrt(d_head) included."""


@dataclass(frozen=True, eq=False)
class Attended:
    """The mean of a value over the tokens so far, weighted by a pattern."""

    pattern: Pattern
    value: "Expression"


Expression = Constant | OfToken | OfPlace | Sum | Product | Scale | Activated | Step | Survivor | Attended


def children(x: Expression) -> "tuple[Expression, ...]":
    """The expressions that `x` is made of, in order."""
    match x:
        case Sum():
            return tuple(term for _, term in x.terms)
        case Product():
            return (x.left, x.right)
        case Scale():
            return x.inputs
        case Activated() | Step():
            return (x.input,)
        case Survivor():
            return x.rivals.inputs
        case Attended():
            return (*(part for score in x.pattern.scores for part in score), x.value)
        case Constant() | OfToken() | OfPlace():
            return ()


def walk(*roots: Expression) -> Iterator[Expression]:
    """Every expression under the roots once, each after those that it is made of."""
    seen: set[Expression] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        x, opened = stack.pop()
        if opened:
            yield x
        elif x not in seen:
            seen.add(x)
            stack.append((x, True))
            stack += [(child, False) for child in reversed(children(x))]


class Rebuilder:
    """Makes expressions anew from the bottom up; what is shared stays shared, what does not change stays itself."""

    def __init__(
        self, change: "Callable[[Expression], Expression]", swaps: "Mapping[Expression, Expression] | None" = None
    ) -> None:
        """`change` is given each expression with its parts changed already. `swaps`: what takes an expression's place,
        made of the old parts, which are changed too."""
        self.change, self.swaps = change, swaps or {}
        self.done: dict[Expression, Expression] = {}
        self.rivals: dict[Rivals, Rivals] = {}
        self.patterns: dict[Pattern, Pattern] = {}

    def __call__(self, root: Expression) -> Expression:
        for x in walk(root):
            if x in self.done:
                continue
            self.done[x] = self(self.swaps[x]) if x in self.swaps else self.change(self._with_new_parts(x))
        return self.done[root]

    def _with_new_parts(self, x: Expression) -> Expression:
        if all(self.done[child] is child for child in children(x)):
            return x
        match x:
            case Sum():
                return Sum(x.constant, tuple((weight, self.done[term]) for weight, term in x.terms))
            case Product():
                return Product(self.done[x.left], self.done[x.right])
            case Scale():
                return Scale(x.constant, tuple(self.done[part] for part in x.inputs), x.width, x.eps)
            case Activated():
                return Activated(x.function, self.done[x.input])
            case Step():
                return Step(self.done[x.input], x.threshold, x.low, x.high)
            case Survivor():
                return Survivor(self._rivals(x.rivals), x.channel)
            case Attended():
                return Attended(self._pattern(x.pattern), self.done[x.value])
            case Constant() | OfToken() | OfPlace():
                return x

    def _rivals(self, old: Rivals) -> Rivals:
        if old not in self.rivals:
            inputs = tuple(self.done[part] for part in old.inputs)
            self.rivals[old] = Rivals(inputs, old.weights, old.bias, old.n_kept, old.asked, old.activation)
        return self.rivals[old]

    def _pattern(self, old: Pattern) -> Pattern:
        if all(self.done[part] is part for score in old.scores for part in score):
            return old
        if old not in self.patterns:
            self.patterns[old] = Pattern(tuple((self.done[query], self.done[key]) for query, key in old.scores))
        return self.patterns[old]
