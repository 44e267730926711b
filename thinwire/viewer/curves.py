"""The page's charts: training curves, and loss against the number of kept nodes."""

from collections.abc import Mapping
from typing import Any

from thinwire.viewer.charts import Series, line_chart
from thinwire.viewer.markup import Markup, join, tag
from thinwire.viewer.sides import is_solved, present
from thinwire.viewer.wording import count, loss

_MOST_POINTS = 400


def _thinned(points: list[Any]) -> list[Any]:
    """Every k-th point, the last one always among them."""
    step = -(-len(points) // _MOST_POINTS) or 1
    return points[::step] + (points[-1:] if len(points) and (len(points) - 1) % step else [])


def training_charts(models: Mapping[str, Any]) -> Markup:
    """Loss and density of both models against training tokens."""
    losses, densities = [], []
    for side in present(models):
        label, curve = models[side]["label"], _thinned(models[side]["curve"])
        held = [(p["tokens"], p["heldout_loss"]) for p in models[side]["curve"] if p.get("heldout_loss") is not None]
        losses.append(Series(label, side, [(p["tokens"], p["loss"]) for p in curve], held))
        densities.append(Series(label, side, [(p["tokens"], p["density"]) for p in curve]))
    first = line_chart(
        losses, "training tokens", "loss (nats per token)", "Training loss against tokens",
        from_zero=False, mark_text=lambda line, n, value: f"{line.name}, held out, {count(n)} tokens: {loss(value)}",
    )  # fmt: skip
    second = line_chart(densities, "training tokens", "density (share of weights)", "Density against tokens")
    return join([
        tag("figure", first, tag("figcaption", "Training loss; points are losses on held-out code.")),
        tag("figure", second, tag("figcaption", "Share of weights that are not zero.")),
    ])  # fmt: skip


def _ladder(task: Mapping[str, Any], target: float) -> Markup:
    lines = []
    for side in present(task):
        circuit = task[side]["circuit"]
        points = [(max(k, 1), max(value, 1e-4)) for k, value in circuit["loss_curve"]]
        taken = (max(circuit["n_nodes"], 1), circuit["scores"]["validation"]["loss"])
        lines.append(Series(side, side, points, [taken] if is_solved(task[side]) else []))
    chart = line_chart(
        lines, "nodes kept", "loss (nats)", f"{task['name']}: loss against nodes kept", log_x=True, log_y=True,
        target=target, mark_text=lambda line, k, value: f"{line.name}: {count(k)} nodes, loss {loss(value)}",
    )  # fmt: skip
    return tag("figure", tag("h3", task["name"]), chart)


def ladder_charts(report: Mapping[str, Any]) -> Markup:
    """For each task, validation loss at every circuit size that the bisection looked at."""
    return join(_ladder(task, report["target_loss"]) for task in report["tasks"])
