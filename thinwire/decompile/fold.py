"""Algebra: the same program in fewer expressions.

Every rule is an identity of real numbers. Sums in sums become one; what is the same at every token becomes a constant;
whatever follows from the token alone becomes a table over tokens; values that one head brings become one value; a score
that is the same for all tokens looked at goes, since the softmax does not see it.
"""

from collections.abc import Iterable

import numpy as np

from thinwire.decompile.evaluate import activated, survivors
from thinwire.decompile.expressions import (
    Activated,
    Attended,
    Constant,
    Expression,
    OfPlace,
    OfToken,
    Pattern,
    Product,
    Scale,
    Step,
    Sum,
    Survivor,
)
from thinwire.decompile.program import Program

Terms = tuple[tuple[float, Expression], ...]
EVENLY = Pattern()
"""The one pattern without scores, so that all heads that look evenly are seen to be the same."""


def folded(program: Program) -> Program:
    """The program after all rules; what they do not touch stays the very same expression."""
    return program.mapped(_Folder().fold)


def tidied(program: Program) -> Program:
    """The folded program with 0 for every token that a table does not list.

    What all tokens share moves out: of a key nothing is left of it, of a value and of the last token a constant.
    """
    done: dict[Pattern, Pattern] = {}

    def tidy(x: Expression) -> Expression:
        if isinstance(x, Sum):
            parts = [(weight, *_from_rest(term)) for weight, term in x.terms]
            moved = sum(weight * rest for weight, rest, _, _ in parts)
            return Sum(x.constant + moved, tuple((weight * factor, table) for weight, _, factor, table in parts))
        if isinstance(x, Attended):
            if x.pattern not in done:
                scores = tuple((query, _less_rest(key)) for query, key in x.pattern.scores)
                done[x.pattern] = Pattern(scores) if scores else x.pattern
            rest, factor, value = _from_rest(x.value)
            return Sum(rest, ((factor, Attended(done[x.pattern], value)),))
        return x

    return folded(program.mapped(tidy))


def _less_rest(x: Expression) -> Expression:
    return OfToken(x.values - x.rest) if isinstance(x, OfToken) and x.rest else x


def _from_rest(x: Expression) -> tuple[float, float, Expression]:
    """`x` as rest + factor x a table with 0 for all tokens that are not listed, and 1 for the others if it is a set."""
    if not isinstance(x, OfToken) or not x.listed:
        return 0.0, 1.0, x
    high = float(x.values[x.listed[0]] - x.rest)
    if len(np.unique(x.values)) == 2:
        return x.rest, high, OfToken(np.where(x.values == x.rest, 0.0, 1.0))
    return x.rest, 1.0, _less_rest(x)


class _Folder:
    def __init__(self) -> None:
        self.patterns: dict[Pattern, Pattern] = {}

    def fold(self, x: Expression) -> Expression:
        """One expression whose parts are folded already."""
        match x:
            case Sum():
                return weighted_sum(x.constant, x.terms, x)
            case Product():
                return _product(x)
            case Scale():
                return _scale(x)
            case Activated():
                return _applied(x, x.input)
            case Step():
                return _applied(x, x.input)
            case Survivor():
                return _survivor(x)
            case Attended():
                return self._attended(x)
            case OfToken() | OfPlace():
                return Constant(float(x.values[0])) if np.ptp(x.values) == 0 else x
            case Constant():
                return x

    def _attended(self, x: Attended) -> Expression:
        pattern = self._pattern(x.pattern)
        if isinstance(x.value, Constant):
            return x.value
        if isinstance(x.value, Sum) and (x.value.constant or len(x.value.terms) == 1):
            constant, terms = x.value.constant, x.value.terms
            factor, inner = terms[0] if len(terms) == 1 else (1.0, weighted_sum(0.0, terms))
            return Sum(constant, ((factor, Attended(pattern, inner)),))
        return x if pattern is x.pattern else Attended(pattern, x.value)

    def _pattern(self, pattern: Pattern) -> Pattern:
        if pattern not in self.patterns:
            self.patterns[pattern] = _folded_pattern(pattern)
        return self.patterns[pattern]


def _folded_pattern(pattern: Pattern) -> Pattern:
    seen = [(query, key) for query, key in pattern.scores if not isinstance(key, Constant) and not _is_zero(query)]
    held = [(query.value, key) for query, key in seen if isinstance(query, Constant)]
    if len(held) > 1 or any(weight != 1 for weight, _ in held):
        both = weighted_sum(0.0, tuple(held))
        both = weighted_sum(0.0, both.terms) if isinstance(both, Sum) else both
        seen = [(Constant(1.0), both), *(score for score in seen if not isinstance(score[0], Constant))]
    if not seen:
        return EVENLY
    same = len(seen) == len(pattern.scores) and all(
        a is c and b is d for (a, b), (c, d) in zip(seen, pattern.scores, strict=True)
    )
    return pattern if same else Pattern(tuple(seen))


def _is_zero(x: Expression) -> bool:
    return isinstance(x, Constant) and x.value == 0


def weighted_sum(constant: float, terms: Terms, same: Sum | None = None) -> Expression:
    """constant + the weighted terms; `same` itself where nothing was to fold in it."""
    flat: dict[Expression, float] = {}
    for weight, x in _flat(terms):
        if isinstance(x, Constant):
            constant += weight * x.value
        else:
            flat[x] = flat.get(x, 0.0) + weight
    rest: list[tuple[float, Expression]] = []
    for part in _kinds((weight, x) for x, weight in flat.items() if weight):
        rest.append(part[0] if len(part) == 1 else (1.0, _joined(part)))
    if any(isinstance(x, Sum | Constant) for _, x in rest):  # a joined value may be one
        return weighted_sum(constant, tuple(rest), same)
    if not rest:
        return Constant(constant)
    (weight, x), *more = rest
    if not more and isinstance(x, OfToken | OfPlace):
        return x if (constant, weight) == (0, 1) else type(x)(constant + weight * x.values)
    if not more and (constant, weight) == (0, 1):
        return x
    if same is not None and same.constant == constant and same.terms == tuple(rest):
        return same
    return Sum(constant, tuple(rest))


def _flat(terms: Terms) -> Iterable[tuple[float, Expression]]:
    for weight, x in terms:
        if isinstance(x, Sum):
            yield weight * x.constant, Constant(1.0)
            yield from ((weight * inner, y) for inner, y in _flat(x.terms))
        else:
            yield weight, x


def _kinds(terms: Iterable[tuple[float, Expression]]) -> list[list[tuple[float, Expression]]]:
    """Terms that can be joined, together: tables over tokens, over places, what is brought by one pattern."""
    groups: dict[object, list[tuple[float, Expression]]] = {}
    for weight, x in terms:
        kind = x.pattern if isinstance(x, Attended) else type(x) if isinstance(x, OfToken | OfPlace) else x
        groups.setdefault(kind, []).append((weight, x))
    return list(groups.values())


def _joined(terms: list[tuple[float, Expression]]) -> Expression:
    first = terms[0][1]
    if isinstance(first, Attended):
        value = weighted_sum(0.0, tuple((weight, x.value) for weight, x in terms if isinstance(x, Attended)))
        return value if isinstance(value, Constant) else _Folder()._attended(Attended(first.pattern, value))
    tables = [weight * x.values for weight, x in terms if isinstance(x, OfToken | OfPlace)]
    return OfToken(sum(tables[1:], tables[0])) if isinstance(first, OfToken) else OfPlace(sum(tables[1:], tables[0]))


def _product(x: Product) -> Expression:
    left, right = x.left, x.right
    if isinstance(right, Constant):
        left, right = right, left
    if isinstance(left, Constant):
        return weighted_sum(0.0, ((left.value, right),))
    if isinstance(left, OfToken) and isinstance(right, OfToken):
        return OfToken(left.values * right.values)
    return x


def _scale(x: Scale) -> Expression:
    constant = x.constant + sum(part.value**2 for part in x.inputs if isinstance(part, Constant))
    moving = tuple(part for part in x.inputs if not isinstance(part, Constant))
    if all(isinstance(part, OfToken) for part in moving):
        squares = constant + sum((part.values**2 for part in moving if isinstance(part, OfToken)), np.zeros(1))
        values = 1 / np.sqrt(squares / x.width + x.eps)
        return OfToken(values) if moving else Constant(float(values[0]))
    return x if len(moving) == len(x.inputs) else Scale(constant, moving, x.width, x.eps)


def _applied(x: Activated | Step, input: Expression) -> Expression:
    def apply(values: np.ndarray) -> np.ndarray:
        if isinstance(x, Activated):
            return activated(x.function, values)
        return np.where(values < x.threshold, x.low, x.high)

    if isinstance(input, Constant):
        return Constant(float(apply(np.array([input.value]))[0]))
    return OfToken(apply(input.values)) if isinstance(input, OfToken) else x


def _survivor(x: Survivor) -> Expression:
    inputs = x.rivals.inputs
    if not all(isinstance(part, Constant | OfToken) for part in inputs):
        return x
    n = max((len(part.values) for part in inputs if isinstance(part, OfToken)), default=1)
    values = [np.full(n, part.value) if isinstance(part, Constant) else part.values for part in inputs
              if isinstance(part, Constant | OfToken)]  # fmt: skip
    found = survivors(x.rivals, values, (n,))[:, x.rivals.asked.index(x.channel)]
    return OfToken(found) if n > 1 else Constant(float(found[0]))
