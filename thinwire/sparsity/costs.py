"""Which of two exact products a weight matrix takes: over all its entries, or over its nonzeros.

The choice is a pure function of the matrix's shape, its number of nonzeros and a table of costs. The table is stored
with the run and used again on resume, so that no choice, hence no rounding, depends on the moment. New runs start from
`default_costs`, a few measured constants, so that two runs of one seed agree too, or, on request, from `measure_costs`,
which times this machine: then two runs of one seed may differ by rounding.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

PROBES = (1 / 16, 1 / 4)
"""Densities at which the product over nonzeros is timed; a line through the two predicts the others. The choice turns
near the second."""


@dataclass(frozen=True)
class Cost:
    """What forward product and input gradient of one (rows, columns) matrix cost; any unit, the same for all three."""

    dense: float
    """The product over all entries."""
    sparse: float
    """The product over nonzeros when there are none: activations are turned feature-major and back."""
    per_nonzero: float
    """What each nonzero adds to it."""


PER_FEATURE, PER_NONZERO, CROWDED = 30.0, 2.0, 2200.0
"""What turning one feature, and one nonzero weight, cost beside one entry of a dense product; every `CROWDED` features
make a nonzero cost one more, because fewer of the turned activations stay in a core's cache.

Fitted on one core to square and 4 to 1 matrices of widths 128 to 1024: for widths of 256 and more the density at which
both products take the same time is met to 0.05. Features cost some 25 there, and more in a whole step."""

CostTable = dict[tuple[int, int], Cost]
"""Cost by (rows, columns) of the weight matrix; a shape that is left out takes the dense product."""


def sparse_pays(costs: CostTable, shape: tuple[int, int], n_nonzero: int) -> bool:
    """Whether the product over nonzeros is the cheaper one."""
    cost = costs.get(shape)
    return cost is not None and cost.sparse + cost.per_nonzero * n_nonzero < cost.dense


def default_costs(shapes: Sequence[tuple[int, int]]) -> CostTable:
    """Costs in units of one entry of a dense product: the same table on every machine."""
    return {(r, c): Cost(r * c, PER_FEATURE * (r + c), PER_NONZERO + (r + c) / CROWDED) for r, c in sorted(set(shapes))}


def measure_costs(shapes: Sequence[tuple[int, int]], n_tokens: int, n_repeats: int = 5) -> CostTable:
    """Time both products on `n_tokens` activations, alternating, the fastest of `n_repeats` each (about a second)."""
    return {shape: _measure(shape, n_tokens, n_repeats) for shape in sorted(set(shapes))}


def _measure(shape: tuple[int, int], n_tokens: int, n_repeats: int) -> Cost:
    from thinwire.sparsity.kernels.products import compress, multiply, transposed

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n_tokens, shape[1], generator=generator)
    dy = torch.randn(n_tokens, shape[0], generator=generator)
    weight = torch.randn(shape, generator=generator)
    order = torch.rand(shape, generator=generator)

    def both(w: Tensor) -> None:
        rows = compress(w)
        multiply(x, rows)
        multiply(dy, transposed(rows, shape[1]))

    probes = [weight * (order < density) for density in PROBES]
    both(probes[0])
    dense, few, many = [], [], []
    for _ in range(n_repeats):
        dense.append(_seconds(lambda: (x @ weight.T, dy @ weight)))
        few.append(_seconds(lambda: both(probes[0])))
        many.append(_seconds(lambda: both(probes[1])))
    n_few, n_many = (int(p.count_nonzero()) for p in probes)
    per_nonzero = max(0.0, min(many) - min(few)) / max(1, n_many - n_few)
    return Cost(min(dense), max(0.0, min(few) - per_nonzero * n_few), per_nonzero)


def _seconds(action: Any) -> float:
    began = perf_counter()
    action()
    return perf_counter() - began


def to_rows(costs: CostTable) -> list[dict[str, float]]:
    """The table as JSON stores it: one row a shape."""
    return [{"rows": r, "columns": c, **asdict(cost)} for (r, c), cost in costs.items()]


def from_rows(rows: list[dict[str, Any]]) -> CostTable:
    """Inverse of `to_rows`."""
    return {(row["rows"], row["columns"]): Cost(row["dense"], row["sparse"], row["per_nonzero"]) for row in rows}
