"""How well a choice of nodes or edges, or a ranking of all of them, hits the truth.

Precision, recall and the area under the ROC curve need the truth. CPR and CMD need none: they are MIB's areas over the
share k of what is kept in the order of a ranking (Mueller et al. 2025), of the faithfulness

    f(k) = (m(first k) - m(nothing)) / (m(everything) - m(nothing))

where m is the mean logit of the right answer minus the other one's. CPR is the area under f: large where little carries
much. CMD is the area between f and 1: 0 where every size does as the whole model does.
"""

from collections.abc import Hashable, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""MIB's shares k; areas are trapezoids between them."""


@dataclass(frozen=True)
class Overlap:
    """A chosen set against the true one."""

    n_found: int
    n_true: int
    precision: float
    """Share of what was chosen that is true; 0 for an empty choice."""
    recall: float
    """Share of what is true that was chosen."""
    exact: bool


def overlap(found: Set[Hashable], true: Set[Hashable]) -> Overlap:
    """`true` is not empty."""
    both = len(found & true)
    return Overlap(len(found), len(true), both / len(found) if found else 0.0, both / len(true), found == true)


def auroc(scores: Float[Tensor, " n"], true: Bool[Tensor, " n"]) -> float:
    """Chance that a true item has a larger score than an untrue one; ties count half. Both kinds must occur."""
    values, places = scores.double().unique(return_inverse=True)
    counts = torch.bincount(places, minlength=len(values)).double()
    rank = (counts.cumsum(0) - (counts - 1) / 2)[places]  # from 1, the mean of those that tie
    n_true, n_false = int(true.sum()), int((~true).sum())
    return float((rank[true].sum() - n_true * (n_true + 1) / 2) / (n_true * n_false))


@dataclass(frozen=True)
class Areas:
    cpr: float
    cmd: float
    faithfulness: list[float]
    """f at each of `FRACTIONS`."""


def areas(kept: Sequence[float], nothing: float, everything: float) -> Areas:
    """From m at each of `FRACTIONS`; `everything` differs from `nothing`."""
    f = [(value - nothing) / (everything - nothing) for value in kept]
    return Areas(_trapezoids(f), _trapezoids([abs(1 - value) for value in f]), f)


def _trapezoids(heights: Sequence[float]) -> float:
    steps = zip(pairwise(FRACTIONS), pairwise(heights), strict=True)
    return sum((right - left) * (a + b) / 2 for (left, right), (a, b) in steps)
