"""Which of three exact products a weight matrix takes: over all its entries, over its nonzeros, or over the nonzeros of
the activations that it is multiplied with.

The choice is a pure function of the matrix's shape, both numbers of nonzeros and a table of costs. The table is stored
with the run and used again on resume, so that no choice, hence no rounding, depends on the moment. New runs start from
`default_costs`, a few measured constants, so that two runs of one seed agree too, or, on request, from `measure_costs`,
which times this machine: then two runs of one seed may differ by rounding.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Annotated, Any, Literal

import torch
from msgspec import Meta
from torch import Tensor

from thinwire.kernels.contract import SPAN

Product = Literal["dense", "weights", "activations"]
"""Whose zeros a product skips."""

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
    per_kept: float | None = None
    """What each entry costs in the product over the nonzeros of activations if all of these are kept; with none kept it
    costs what `sparse` says. None: the shape is not made for it."""


PER_FEATURE, PER_NONZERO, CROWDED, PER_KEPT = 30.0, 2.0, 2200.0, 1.8
"""What turning or listing one feature, one nonzero weight, and one entry times a kept activation cost beside one entry
of a dense product; every `CROWDED` features make a nonzero weight cost one more, because fewer of the turned
activations stay in a core's cache.

Fitted on one core to square and 4 to 1 matrices of widths 128 to 1024: for widths of 256 and more the density at which
both products take the same time is met to 0.05. Features cost some 25 there, and more in a whole step."""

CostTable = dict[tuple[int, int], Cost]
"""Cost by (rows, columns) of the weight matrix; a shape that is left out takes the dense product."""


def cheapest(costs: CostTable, shape: tuple[int, int], n_nonzero: int | None, share: float = 1.0) -> Product:
    """The cheapest product of a matrix with so many nonzeros and activations of which `share` are kept.

    Without `n_nonzero` the one over the matrix's nonzeros is no choice.
    """
    cost = costs.get(shape)
    if cost is None:
        return "dense"
    found: dict[Product, float] = {"dense": cost.dense}
    if n_nonzero is not None:
        found["weights"] = cost.sparse + cost.per_nonzero * n_nonzero
    if cost.per_kept is not None and share < 1:
        found["activations"] = cost.sparse + cost.per_kept * share * shape[0] * shape[1]
    return min(found, key=found.__getitem__)


def default_costs(shapes: Sequence[tuple[int, int]]) -> CostTable:
    """Costs in units of one entry of a dense product: the same table on every machine."""
    return {
        (r, c): Cost(r * c, PER_FEATURE * (r + c), PER_NONZERO + (r + c) / CROWDED, PER_KEPT if _spans(r, c) else None)
        for r, c in sorted(set(shapes))
    }


def _spans(rows: int, columns: int) -> bool:
    """Whether both sides of a matrix are made of whole spans."""
    return rows % SPAN == columns % SPAN == 0


def measure_costs(shapes: Sequence[tuple[int, int]], n_tokens: int, n_repeats: int = 5) -> CostTable:
    """Time both products on `n_tokens` activations, alternating, the fastest of `n_repeats` each (about a second)."""
    return {shape: _measure(shape, n_tokens, n_repeats) for shape in sorted(set(shapes))}


def _measure(shape: tuple[int, int], n_tokens: int, n_repeats: int) -> Cost:
    from thinwire.kernels import kept
    from thinwire.kernels.products import compress, multiply, transposed

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n_tokens, shape[1], generator=generator)
    dy = torch.randn(n_tokens, shape[0], generator=generator)
    weight = torch.randn(shape, generator=generator)
    order = torch.rand(shape, generator=generator)
    few, many = (weight * (order < density) for density in PROBES)
    few_x, few_dy = (t * (torch.rand(t.shape, generator=generator) < PROBES[1]) for t in (x, dy))

    def over_weights(w: Tensor) -> None:
        rows = compress(w)
        multiply(x, rows)
        multiply(dy, transposed(rows, shape[1]))

    def over_activations() -> None:
        kept.multiply(few_x, weight.T.contiguous())
        kept.multiply(few_dy, weight)

    actions = [lambda: (x @ weight.T, dy @ weight), lambda: over_weights(few), lambda: over_weights(many)]
    actions += [over_activations] if _spans(*shape) else []
    for action in actions:
        action()
    seconds = [min(times) for times in zip(*([_seconds(a) for a in actions] for _ in range(n_repeats)), strict=True)]
    n_few, n_many = (int(w.count_nonzero()) for w in (few, many))
    per_nonzero = max(0.0, seconds[2] - seconds[1]) / max(1, n_many - n_few)
    sparse = max(0.0, seconds[1] - per_nonzero * n_few)
    per_kept = [max(0.0, s - sparse) / (PROBES[1] * shape[0] * shape[1]) for s in seconds[3:]]
    return Cost(seconds[0], sparse, per_nonzero, *per_kept)


def _seconds(action: Any) -> float:
    began = perf_counter()
    action()
    return perf_counter() - began


Units = Annotated[float, Meta(ge=0, le=1e18)]


@dataclass(frozen=True)
class CostRow:
    """One shape of the table, as costs.json holds it."""

    rows: Annotated[int, Meta(ge=1, lt=1 << 31)]
    columns: Annotated[int, Meta(ge=1, lt=1 << 31)]
    dense: Units
    sparse: Units
    per_nonzero: Units
    per_kept: Units | None = None
    """Tables of older versions lack it."""


def to_rows(costs: CostTable) -> list[CostRow]:
    """The table as it is stored: one row a shape."""
    return [CostRow(rows, columns, **asdict(cost)) for (rows, columns), cost in costs.items()]


def from_rows(rows: Iterable[CostRow]) -> CostTable:
    """Inverse of `to_rows`."""
    return {(row.rows, row.columns): Cost(row.dense, row.sparse, row.per_nonzero, row.per_kept) for row in rows}
