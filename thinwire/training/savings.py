"""What following the nonzeros saves, and what the rows of a run say of its mode in one summary."""

import math
from collections.abc import Callable, Sequence
from statistics import mean
from time import perf_counter
from typing import Any

import torch

from thinwire.training.metrics import StepRow
from thinwire.training.support_matrix import HeldMatrix

_TOKENS, _REPEATS = 1024, 3


class Savings:
    """Adds up what is spared.

    The two gradients of a shape are timed on this machine when it is first met, and again whenever only half as many
    entries are stored as then.
    """

    def __init__(self, tokens: int, so_far: float = 0.0) -> None:
        self.tokens, self.total = tokens, so_far
        self._timed: dict[tuple[int, int], tuple[int, float]] = {}
        """By shape: number of stored entries, seconds spared."""

    def after(self, held: Sequence[HeldMatrix]) -> float:
        """The sum after one more step of `tokens` tokens, in seconds."""
        self.total += sum(self._of(matrix) for matrix in held if matrix.support is not None)
        return self.total

    def _of(self, matrix: HeldMatrix) -> float:
        n_stored = matrix.moments.m.numel()
        if matrix.shape not in self._timed or n_stored <= self._timed[matrix.shape][0] // 2:
            self._timed[matrix.shape] = n_stored, max(0.0, spared_seconds(matrix))
        return self._timed[matrix.shape][1] * self.tokens / _TOKENS


@torch.no_grad()
def spared_seconds(matrix: HeldMatrix) -> float:
    """A dense weight gradient's time less that of the stored entries, for 1024 tokens; the fastest of three each."""
    from thinwire.kernels import products, support

    s, values = matrix.support, matrix.values
    assert s is not None and values is not None
    dy, x = (torch.ones(_TOKENS, width) for width in matrix.shape)
    by_column = (s.column_starts, s.rows, values.numpy()[s.order])
    arrays = (x.numpy(), dy.numpy(), s.starts, s.columns, *by_column, matrix.probes.numpy())
    stored = _fastest(lambda: support.backward(*arrays))
    input_alone = _fastest(lambda: products.multiply(dy, products.Rows(*by_column)))
    return _fastest(lambda: dy.T @ x) - (stored - input_alone)


def _fastest(action: Callable[[], Any]) -> float:
    found = []
    for _ in range(_REPEATS):
        began = perf_counter()
        action()
        found.append(perf_counter() - began)
    return min(found)


def summary(rows: Sequence[StepRow]) -> dict[str, int | float]:
    """What the rows of metrics.jsonl say of a mode; empty for `exact`.

    `spared_rows`: share of rows (columns of the matrices out of values and neurons), over all steps, of which nonzero
    weights alone were computed. Over the steps that follow the nonzeros: `exchanges`, weights that came back, a step;
    `norm_error`, root mean square of the relative error of the estimated gradient norm, where the true one is known.
    """
    followed = [row.exchanges for row in rows if row.exchanges is not None]
    if not followed:
        return {}
    errors = [row.norm_error for row in rows if row.norm_error is not None]
    return {
        "followed_steps": len(followed),
        "spared_rows": mean(row.spared_rows or 0.0 for row in rows),
        "exchanges": mean(followed),
        "norm_error": math.sqrt(mean(error**2 for error in errors)) if errors else 0.0,
        "seconds_saved": rows[-1].seconds_saved or 0.0,
    }
