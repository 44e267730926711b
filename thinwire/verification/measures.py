"""Numbers that more than one test needs, and how they are said."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.graph import Edge
from thinwire.model.sites import node_key


def percent(share: float) -> str:
    """A share in words: 93 %, and 99.4 % where the digit behind the point is needed to tell it from 100 %."""
    return f"{100 * share:.1f} %" if 0.99 < share < 0.9995 else f"{round(100 * share)} %"


def edge_name(edge: Edge) -> str:
    """`site:channel -> site:channel`."""
    return f"{node_key(edge.source_site, edge.source)} -> {node_key(edge.target_site, edge.target)}"


def correlation(a: Float[Tensor, " n"], b: Float[Tensor, " n"], spread: float = 1e-6) -> float | None:
    """Pearson's correlation; None for fewer than 3 values, or where one side's standard deviation is below `spread`."""
    if len(a) < 3 or float(a.std()) < spread or float(b.std()) < spread:
        return None
    value = float(torch.corrcoef(torch.stack([a, b]).double())[0, 1])
    return value if math.isfinite(value) else None


def normalised_error(circuit: Sequence[float], model: Sequence[float]) -> float | None:
    """Sum of |circuit - model| over sum of |model|; None without effects in the model, where nothing can agree."""
    total = sum(map(abs, model))
    return sum(abs(c - m) for c, m in zip(circuit, model, strict=True)) / total if total else None


def same_sign(a: Tensor, b: Tensor) -> float:
    """Share of places at which both have the same sign."""
    return float((a.sign() == b.sign()).float().mean())


def p_value(observed: float, null: Sequence[float]) -> float | None:
    """Exact one-sided p: (1 + how many of `null` are at least `observed`) / (1 + how many there are); None for none."""
    return (1 + sum(value >= observed for value in null)) / (1 + len(null)) if null else None


def z_score(observed: float, null: Sequence[float]) -> float | None:
    """Standard deviations between `observed` and the mean of `null`; None where that has no spread."""
    spread = stdev(null) if len(null) > 1 else 0.0
    return (observed - fmean(null)) / spread if spread > 0 else None


def mean(values: Sequence[float]) -> float | None:
    """Arithmetic mean; None for no values."""
    return fmean(values) if values else None
