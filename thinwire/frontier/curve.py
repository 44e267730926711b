"""Capability against circuit size, and how many times smaller sparse circuits are at the same held-out loss.

Source: Gao et al. 2025, section 3.2 and figure 3: geometric means of edges over tasks, sparse against dense at matched
pretraining loss. Here task by task: the sizes of one task's circuits in the dense models that do it make a curve over
held-out loss, and a sparse model's circuit is set against that curve at its own loss. A task enters where the sparse
model does it on test pairs, and a dense one of a loss as low, and one of a loss as high. Nothing is extrapolated.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from thinwire.frontier.compare import geometric_mean
from thinwire.frontier.points import CircuitPoint, Kind, ModelPoint

DRAWS = 10_000
"""Bootstrap samples behind an interval."""
FEWEST = 5
"""Tasks below which there is no interval: a bootstrap of three gives their smallest and largest."""

Sizes = Mapping[tuple[str, str], float]
"""(model, task) -> edges, the geometric mean over seeds of the pruning."""


def sizes(circuits: Sequence[CircuitPoint], requirement: str, counted: str) -> dict[tuple[str, str], float]:
    """The sizes of one requirement, edges counted one way of `SWEEPS`.

    A task has a size in a model that does it and of which every seed's circuit meets what was asked.
    """
    found: dict[tuple[str, str], list[int | None]] = {}
    for one in circuits:
        if one.requirement == requirement:
            size = getattr(one.cell, counted) if one.cell.compared and one.met else None
            found.setdefault((one.model, one.task), []).append(size)
    whole = {key: [n for n in edges if n is not None] for key, edges in found.items() if None not in edges}
    return {key: mean for key, edges in whole.items() if (mean := geometric_mean(edges)) is not None}


def interpolated(curve: Sequence[tuple[float, float]], at: float) -> float | None:
    """Size at a held-out loss: straight lines in the logarithm of size between neighbours of a curve of (loss, size).

    None where the loss lies outside the curve. Points of equal loss count by their geometric mean.
    """
    by_loss: dict[float, list[float]] = {}
    for loss, size in curve:
        by_loss.setdefault(loss, []).append(math.log(max(1.0, size)))
    losses = sorted(by_loss)
    if not losses or not losses[0] <= at <= losses[-1]:
        return None
    return math.exp(np.interp(at, losses, [sum(by_loss[loss]) / len(by_loss[loss]) for loss in losses]))


@dataclass(frozen=True)
class TaskRatio:
    """One task in one sparse model, against the dense curve at its loss."""

    model: str
    task: str
    sparse: float
    dense: float
    between: tuple[str, str]
    """The dense models that the size at that loss lies between, the lower loss first; twice one of just that loss.
    Seeds of one model count as one, at their mean."""

    @property
    def ratio(self) -> float:
        """How many times smaller the sparse circuit is."""
        return self.dense / max(1.0, self.sparse)


@dataclass(frozen=True)
class Ratio:
    """How many times smaller circuits of one group of sparse models are than those of dense ones at the same loss."""

    group: str
    models: tuple[str, ...]
    heldout_loss: float
    """Mean over the models."""
    requirement: str
    counted: str
    ratio: float | None
    """Geometric mean over tasks and models; None without a task."""
    low: float | None
    """Bootstrap 95 % interval over tasks and over models of the group; None for fewer than `FEWEST` tasks. Noise of the
    pruning and of the dense models is not in it."""
    high: float | None
    tasks: tuple[TaskRatio, ...]
    left_out: Mapping[str, str]
    """Every other task that one of the models does, and why it does not enter."""


def ratio(
    group: Sequence[ModelPoint],
    models: Sequence[ModelPoint],
    circuits: Sequence[CircuitPoint],
    requirement: str,
    counted: str,
    against: Kind = "dense",
    seed: int = 0,
) -> Ratio:
    """The ratio of one group of sparse models to the models of kind `against`."""
    found = sizes(circuits, requirement, counted)
    rivals = [model for model in models if model.kind == against]
    rows, left_out = [], {}
    names = {model.name for model in group}
    for task in sorted({one.task for one in circuits if one.model in names and one.cell.model_does}):
        own = [_against(model, task, rivals, found) for model in group]
        rows += [row for row in own if isinstance(row, TaskRatio)]
        if reasons := {row for row in own if isinstance(row, str)}:
            left_out[task] = "; ".join(sorted(reasons))
    low, high = interval(rows, seed)
    return Ratio(
        group=group[0].group,
        models=tuple(model.name for model in group),
        heldout_loss=sum(model.heldout_loss for model in group) / len(group),
        requirement=requirement,
        counted=counted,
        ratio=_mean_ratio(rows),
        low=low,
        high=high,
        tasks=tuple(rows),
        left_out=left_out,
    )


def _against(model: ModelPoint, task: str, rivals: Sequence[ModelPoint], found: Sizes) -> TaskRatio | str:
    """The comparison, or why there is none."""
    size = found.get((model.name, task))
    if size is None:
        return f"{model.name} does not do it on test pairs, or has no circuit that meets what was asked"
    able = list(_curve(task, rivals, found))
    below = [point for point in able if point.loss <= model.heldout_loss]
    above = [point for point in able if point.loss >= model.heldout_loss]
    if not below or not above:
        side = "low" if not below else "high"
        return f"no dense model of a loss as {side} as {model.name}'s does it, with a circuit that meets what was asked"
    lower, higher = max(below, key=lambda point: point.loss), min(above, key=lambda point: point.loss)
    dense = interpolated([(lower.loss, lower.size), (higher.loss, higher.size)], model.heldout_loss)
    assert dense is not None
    return TaskRatio(model.name, task, size, dense, (lower.name, higher.name))


class _Point(NamedTuple):
    """One model of the curve, or several that differ in the seed of their training."""

    name: str
    loss: float
    size: float


def _curve(task: str, rivals: Sequence[ModelPoint], found: Sizes) -> Iterator[_Point]:
    """The dense models that do the task: seeds of one model are one point, of their mean loss and size."""
    able: dict[str, list[ModelPoint]] = {}
    for rival in rivals:
        if (rival.name, task) in found:
            able.setdefault(rival.group, []).append(rival)
    for own in able.values():
        loss = sum(model.heldout_loss for model in own) / len(own)
        logs = [math.log(max(1.0, found[model.name, task])) for model in own]
        yield _Point(" and ".join(model.name for model in own), loss, math.exp(sum(logs) / len(logs)))


def _mean_ratio(rows: Sequence[TaskRatio]) -> float | None:
    return math.exp(sum(math.log(row.ratio) for row in rows) / len(rows)) if rows else None


def interval(rows: Sequence[TaskRatio], seed: int = 0, draws: int = DRAWS) -> tuple[float | None, float | None]:
    """Bootstrap 95 % interval of the geometric mean: tasks are drawn with replacement, and so are models.

    (None, None) for fewer than `FEWEST` tasks. With few tasks it is too narrow, as every bootstrap of few is.
    """
    tasks, models = sorted({row.task for row in rows}), sorted({row.model for row in rows})
    if len(tasks) < FEWEST:
        return None, None
    logs = np.full((len(tasks), len(models)), np.nan)
    for row in rows:
        logs[tasks.index(row.task), models.index(row.model)] = math.log(row.ratio)
    random = np.random.default_rng(seed)
    chosen = logs[random.integers(len(tasks), size=(draws, len(tasks)))]
    columns = random.integers(len(models), size=(draws, 1, len(models)))
    sampled = np.take_along_axis(chosen, np.broadcast_to(columns, chosen.shape), axis=2).reshape(draws, -1)
    means = np.nanmean(sampled[~np.isnan(sampled).all(axis=1)], axis=1)
    low, high = np.exp(np.quantile(means, [0.025, 0.975]))
    return float(low), float(high)


@dataclass(frozen=True)
class FullTable:
    """Models and tasks such that every one of the models has a circuit of every one of the tasks."""

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    means: Mapping[str, float]
    """Model -> geometric mean of edges over the tasks."""


def full_table(models: Sequence[ModelPoint], found: Sizes) -> FullTable:
    """The fullest table with a sparse and a dense model in it: models x tasks is largest; more tasks win a tie."""
    own = {model.name: frozenset(task for name, task in found if name == model.name) for model in models}
    kinds = {model.name: model.kind for model in models}
    closed: set[frozenset[str]] = set()
    for tasks in own.values():
        closed |= {tasks, *(tasks & other for other in closed)}

    def rows(tasks: frozenset[str]) -> tuple[str, ...]:
        return tuple(name for name, done in own.items() if tasks <= done)

    fit = [tasks for tasks in closed if tasks and {"sparse", "dense"} <= {kinds[name] for name in rows(tasks)}]
    if not fit:
        return FullTable((), (), {})
    best = max(fit, key=lambda tasks: (len(rows(tasks)) * len(tasks), len(tasks), sorted(tasks)))
    names = rows(best)
    logs = {name: [math.log(max(1.0, found[name, task])) for task in best] for name in names}
    return FullTable(names, tuple(sorted(best)), {name: math.exp(sum(v) / len(v)) for name, v in logs.items()})


def pareto(points: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """Names of the points (loss, size) that no other point beats in one and equals in the other, by loss."""

    def beaten(own: tuple[float, float]) -> bool:
        return any(o != own and o[0] <= own[0] and o[1] <= own[1] for o in points.values())

    return tuple(sorted((name for name, own in points.items() if not beaten(own)), key=lambda name: points[name][0]))
