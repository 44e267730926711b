"""Simplify: rewrites one after the other, each kept only if the answers still agree on validation pairs."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from thinwire.decompile.evaluate import Batch
from thinwire.decompile.expressions import (
    Activated,
    Attended,
    Constant,
    Expression,
    OfPlace,
    OfToken,
    Product,
    Scale,
    Step,
    Sum,
    Survivor,
    walk,
)
from thinwire.decompile.fold import folded, tidied
from thinwire.decompile.judge import Judge
from thinwire.decompile.program import Program
from thinwire.decompile.refit import refitted
from thinwire.decompile.rewrites import FIRST, REWRITES, Replacement, Rewrite, Scene
from thinwire.decompile.tables import MOST_LEVELS, by_importance, coarse, importance, tables, without
from thinwire.progress import Progress, silent

LEAST = 0.98
"""Share of validation pairs on which a rewrite must leave both answers as the circuit gives them."""
MOST_DIGITS = 6
COSTS = {OfPlace: 30, Survivor: 20, Scale: 20, Product: 10, Activated: 8, Attended: 6, Step: 4, OfToken: 3, Sum: 1}
"""What an expression of each kind costs a reader; that it falls is what ends the rewriting."""


@dataclass(frozen=True)
class Simplified:
    """A program, and how it came about."""

    program: Program
    kept: dict[str, int]
    """Rewrite -> how often it was kept."""
    n_tried: int


def simplify(
    exact: Program, train: Batch, validation: Batch, least: float = LEAST, progress: Progress = silent
) -> Simplified:
    """The simplest program that rewriting finds and that gives the exact one's answers on the share `least` of the
    validation pairs; numbers are fitted on train pairs."""
    program = folded(exact.of_difference)
    search = _Search(Judge(train, program.difference), Judge(validation, program.difference), least)
    stages = len(REWRITES) + 2
    with progress("rewrite", total=stages, unit="stage") as advance:
        program = search.all_at_once(program, FIRST)
        search.least_of_train = min(least, search.train.agreement(program).pairs)
        for rewrite in REWRITES:
            program = search.rewritten(program, rewrite)
            advance(1)
        program = search.with_short_tables(program)
        advance(1)
        program = search.rounded(tidied(program))
        advance(1)
    return Simplified(program, dict(search.kept), search.n_tried)


class _Search:
    def __init__(self, train: Judge, validation: Judge, least: float) -> None:
        self.train, self.validation, self.least = train, validation, least
        self.least_of_train = 0.0
        self.kept: Counter[str] = Counter()
        self.n_tried = 0

    def settled(self, program: Program) -> Program | None:
        """The program, or the same with its numbers fitted again, where that agrees."""
        self.n_tried += 1
        if self._agrees(program):
            return program
        again = refitted(program, self.train.batch, self.train.wanted)
        return again if self._agrees(again) else None

    def _agrees(self, program: Program) -> bool:
        agrees = self.validation.agreement(program).pairs >= self.least
        return agrees and self.train.agreement(program).pairs >= self.least_of_train

    def all_at_once(self, program: Program, rewrites: tuple[Rewrite, ...]) -> Program:
        """Every first offer of several rewrites together, if that agrees."""
        changed = program
        for rewrite in rewrites:
            changed = folded(changed.with_replaced(_first_offers(rewrite, self._scene(changed))))
        settled = self._taken(program, changed)
        self.kept.update({rewrite.words: 1 for rewrite in rewrites} if settled is not None else {})
        return program if settled is None else settled

    def rewritten(self, program: Program, rewrite: Rewrite) -> Program:
        """Everything at once where that agrees, else one by one as long as anything does."""
        together = folded(program.with_replaced(_first_offers(rewrite, self._scene(program))))
        if (settled := self._taken(program, together)) is not None:
            self.kept[rewrite.words] += 1
            program = settled
        return self._one_by_one(program, rewrite)

    def _one_by_one(self, program: Program, rewrite: Rewrite) -> Program:
        while (settled := self._one_more(program, rewrite)) is not None:
            self.kept[rewrite.words] += 1
            program = settled
        return program

    def _one_more(self, program: Program, rewrite: Rewrite) -> Program | None:
        for offers in rewrite.offers(self._scene(program)):
            for offer in offers:
                if (settled := self._taken(program, folded(program.with_replaced(offer)))) is not None:
                    return settled
        return None

    def _taken(self, program: Program, changed: Program) -> Program | None:
        return self.settled(changed) if complexity(changed) < complexity(program) else None

    def with_short_tables(self, program: Program) -> Program:
        """Tables one after the other, the longest first, as long as any becomes shorter."""
        refused: set[Expression] = set()
        while todo := [x for x in tables(self._scene(program)) if x not in refused]:
            shorter = self._with_short_table(program, todo[0])
            refused.add(todo[0])
            if listing(shorter) < listing(program):
                self.kept["tables made shorter"] += 1
                program = shorter
        return program

    def _with_short_table(self, program: Program, table: OfToken) -> Program:
        counts, short, found = importance(table, self._scene(program)), table, program
        for n_levels in range(1, MOST_LEVELS + 1):
            start = coarse(table, counts, n_levels)
            if (settled := self._with(program, table, start)) is not None:
                short, found = start, settled
                break
        order = by_importance(short, counts)
        low, high = 0, len(order)
        while low < high:
            middle = (low + high + 1) // 2
            if (settled := self._with(program, table, without(short, order[:middle]))) is not None:
                found, low = settled, middle
            else:
                high = middle - 1
        gone = order[:low]
        for token in order[low:]:
            if (settled := self._with(program, table, without(short, [*gone, token]))) is not None:
                found, gone = settled, [*gone, token]
        return found

    def _with(self, program: Program, table: OfToken, other: OfToken) -> Program | None:
        return self.settled(folded(program.with_replaced({table: other})))

    def rounded(self, program: Program) -> Program:
        """All numbers to as few digits as agree."""
        for digits in range(1, MOST_DIGITS + 1):
            self.n_tried += 1
            if self._agrees(short := tidied(program.mapped(lambda x, n=digits: rounded(x, n)))):
                self.kept[f"numbers of {digits} digits"] += 1
                return short
        return program

    def _scene(self, program: Program) -> Scene:
        return Scene(program, self.train.batch)


def _first_offers(rewrite: Rewrite, scene: Scene) -> Replacement:
    found: Replacement = {}
    for offers in rewrite.offers(scene):
        found |= {x: y for x, y in offers[0].items() if x not in found}
    return found


def listing(program: Program) -> int:
    """Tokens that tables list, and values that they have."""
    found = [x for x in walk(*program.outputs) if isinstance(x, OfToken)]
    return sum(len(x.listed) + len(np.unique(x.values)) for x in found)


def complexity(program: Program) -> int:
    """What a program costs a reader, tables by their number alone."""
    total = 0
    for x in walk(*program.outputs):
        total += COSTS.get(type(x), 0)
        if isinstance(x, Sum):
            total += len(x.terms)
        elif isinstance(x, Attended):
            total += sum(2 if isinstance(query, Constant) else 5 for query, _ in x.pattern.scores)
    return total


def rounded(x: Expression, digits: int) -> Expression:
    """The same with its own numbers to `digits` significant digits."""

    def short(value: float) -> float:
        return float(f"{value:.{digits}g}")

    match x:
        case Sum():
            return Sum(short(x.constant), tuple((short(weight), term) for weight, term in x.terms))
        case OfToken() | OfPlace():
            return type(x)(np.array([short(value) for value in x.values]))
        case Step():
            return Step(x.input, short(x.threshold), short(x.low), short(x.high))
        case Constant():
            return Constant(short(x.value))
        case Product() | Scale() | Activated() | Survivor() | Attended():
            return x
