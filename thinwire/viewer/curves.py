"""The page's charts: training curves, and loss against the number of kept nodes."""

from collections.abc import Mapping, Sequence

from thinwire.viewer.charts import Series, line_chart
from thinwire.viewer.contract import CurvePoint, ModelReport, Side, TaskReport, present
from thinwire.viewer.markup import Markup, join, tag
from thinwire.viewer.wording import count, listing, loss

_MOST_POINTS = 400
_DIP = 0.5
"""A curve dips below the whole model where its loss is less than so many times the whole model's."""


def _thinned(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Every k-th point, the last one always among them."""
    step = -(-len(points) // _MOST_POINTS) or 1
    return [*points[::step], *(points[-1:] if len(points) and (len(points) - 1) % step else [])]


def training_charts(models: Mapping[Side, ModelReport]) -> Markup:
    """Loss and density of both models against training tokens."""
    losses, densities = [], []
    for side in present(models):
        label, curve = models[side].label, _thinned(models[side].curve)
        held = [(p.tokens, p.heldout_loss) for p in models[side].curve if p.heldout_loss is not None]
        losses.append(Series(label, side, [(p.tokens, p.loss) for p in curve], held))
        densities.append(Series(label, side, [(p.tokens, p.density) for p in curve]))
    first = line_chart(
        losses, "training tokens", "loss (nats per token)", "Training loss against tokens",
        from_zero=False, mark_text=lambda line, n, value: f"{line.name}, held out, {count(n)} tokens: {loss(value)}",
    )  # fmt: skip
    second = line_chart(densities, "training tokens", "density (share of weights)", "Density against tokens")
    return join([
        tag("figure", first, tag("figcaption", f"Training loss; points are losses on {_heldout(models)}.")),
        tag("figure", second, tag("figcaption", "Share of the weights of the matrices that are not zero.")),
    ])  # fmt: skip


def _heldout(models: Mapping[Side, ModelReport]) -> str:
    behind = sorted({models[side].n_curve_tokens for side in present(models)})
    return f"{listing([count(n) for n in behind])} tokens of held-out code"


def _ladder(task: TaskReport) -> Markup:
    lines, dips = [], []
    parts = [(side, task.models[side]) for side in present(task.models)]
    for side, part in parts:
        circuit = part.circuit
        points = [(max(k, 1), max(value, 1e-4)) for k, value in circuit.loss_curve]
        taken = (max(circuit.n_nodes, 1), max(circuit.scores["validation"].loss, 1e-4))
        lines.append(Series(side, side, points, [taken] if part.target_met else []))
        whole = circuit.model_scores["validation"].loss
        k, lowest = min(circuit.loss_curve, key=lambda point: point[1], default=(0, whole))
        if lowest < _DIP * whole:
            dips.append(f"{side}: {loss(lowest)} at {count(k)} nodes, the whole model {loss(whole)}")
    targets = {part.circuit.target_loss for _, part in parts}
    chart = line_chart(
        lines, "nodes kept", "loss (nats)", f"{task.name}: loss against nodes kept", log_x=True, log_y=True,
        target=targets.pop() if len(targets) == 1 else None,
        mark_text=lambda line, k, value: f"{line.name}, after the sweep: {count(k)} nodes, loss {loss(value)}",
    )  # fmt: skip
    said = f"Below the whole model's loss: {listing(dips)}." if dips else ""
    return tag("figure", tag("h3", task.name), chart, tag("figcaption", said) if said else None)


def ladder_charts(tasks: Sequence[TaskReport]) -> Markup:
    """For each task, validation loss at every circuit size that the bisection looked at."""
    return join(_ladder(task) for task in tasks)
