"""Refit: the numbers of a program's last step, set so that it is as near to the circuit as its form allows.

The difference of the answers' logits is a sum, linear in the tables that heads bring, in the tables over the last token
and in its weights. These are fitted by least squares to the circuit's own difference on train prompts. Prompts on which
the circuit is undecided count for more, and every number is drawn to where it was, so that what no prompt tells stays.
"""

import numpy as np
from jaxtyping import Float64

from thinwire.decompile.evaluate import Batch
from thinwire.decompile.expressions import Attended, Expression, OfToken, Sum
from thinwire.decompile.fold import folded
from thinwire.decompile.program import Program

PULL = 1.0
"""Squared error, in logits, that moving a number by one costs."""
UNDECIDED = 0.5
"""Logit difference up to which a prompt counts in full."""


def refitted(program: Program, train: Batch, wanted: Float64[np.ndarray, " P"]) -> Program:
    """The program with other numbers; `wanted` is the circuit's difference on the prompts of `train`."""
    root = program.difference
    constant, terms = (root.constant, root.terms) if isinstance(root, Sum) else (0.0, ((1.0, root),))
    columns, start = [np.ones((len(wanted), 1))], [np.array([constant])]
    for weight, x in terms:
        column, levels = _columns(x, train)
        columns.append(column)
        start.append(weight * levels)
    matrix, before = np.concatenate(columns, 1), np.concatenate(start)
    counts = 1 / np.maximum(UNDECIDED, np.abs(wanted))[:, None]
    told = np.flatnonzero(matrix.any(0))  # numbers that no prompt tells stay
    weighted = (matrix * counts**2)[:, told]
    square = weighted.T @ matrix[:, told] + PULL * np.eye(len(told))
    after = before.copy()
    after[told] += np.linalg.solve(square, weighted.T @ (wanted - matrix @ before))
    (fitted_constant, *fitted) = np.split(after, np.cumsum([len(part) for part in start])[:-1])
    new = tuple(_with(x, values) for (_, x), values in zip(terms, fitted, strict=True))
    return folded(Program((Sum(float(fitted_constant[0]), new),), program.answers, program.tokens))


def _table(x: Expression) -> OfToken | None:
    """The table that a term is linear in."""
    inner = x.value if isinstance(x, Attended) else x
    return inner if isinstance(inner, OfToken) else None


def _columns(x: Expression, train: Batch) -> tuple[Float64[np.ndarray, "P n"], Float64[np.ndarray, " n"]]:
    """(what each number is multiplied by on every prompt, the numbers): one for each value that a table has."""
    table, rows = _table(x), np.arange(len(train.lengths))
    if table is None:
        return train.last(x)[:, None], np.ones(1)
    levels, level = np.unique(table.values, return_inverse=True)
    column = np.zeros((len(rows), len(levels)))
    if isinstance(x, Attended):
        np.add.at(column, (rows[:, None], level[train.tokens]), train.pattern_of_last(x.pattern))
    else:
        column[rows, level[train.tokens[rows, train.lengths - 1]]] = 1.0
    return column, levels


def _with(x: Expression, values: Float64[np.ndarray, " n"]) -> tuple[float, Expression]:
    table = _table(x)
    if table is None:
        return float(values[0]), x
    level = np.unique(table.values, return_inverse=True)[1]
    new = OfToken(values[level])
    return 1.0, Attended(x.pattern, new) if isinstance(x, Attended) else new
