"""The frontier's figures: edges against held-out loss, task by task, and how many times smaller circuits are."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from thinwire.frontier.curve import FullTable, Ratio, full_table, sizes
from thinwire.frontier.points import CircuitPoint, Kind, ModelPoint
from thinwire.storage.files import add_sealed
from thinwire.viewer.wording import plural
from thinwire.workflows.plot import LINE, NEGATIVE, POSITIVE, SOFT, STYLE, WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS: Mapping[Kind, tuple[str, str]] = {
    "sparse": ("o", LINE),
    "dense": ("s", NEGATIVE),
    "sparse, no AbsTopK": ("^", POSITIVE),
    "dense, AbsTopK": ("v", SOFT),
}
"""Marker and colour: told apart without colour too."""
COLUMNS = 3
"""Panels beside one another, a task each."""


def draw_frontier(
    out: Path, models: Sequence[ModelPoint], circuits: Sequence[CircuitPoint], ratios: Sequence[Ratio]
) -> list[Path]:
    """Add frontier.svg, tasks.svg and ratios.svg to a sealed directory; nothing without matplotlib, and no figure that
    would be empty."""
    try:
        from matplotlib import rc_context
    except ImportError:
        return []
    files: dict[str, bytes] = {}
    with rc_context(STYLE):
        requirements = list(dict.fromkeys(one.requirement for one in circuits))
        tables = {name: full_table(models, sizes(circuits, name, "n_edges")) for name in requirements}
        drawn = {name: table for name, table in tables.items() if table.models}
        if drawn:
            files["frontier.svg"] = _svg(frontier_figure(models, drawn))
        for name in requirements:
            if any(one.met for one in circuits if one.requirement == name):
                kind = "" if name == requirements[0] else f"-{name}"
                files[f"tasks{kind}.svg"] = _svg(tasks_figure(models, circuits, name))
        if rows := [one for one in ratios if one.counted == "n_edges" and one.tasks]:
            files["ratios.svg"] = _svg(ratio_figure(models, rows))
    for name, content in files.items():
        add_sealed(out, name, content)
    return [out / name for name in files]


def frontier_figure(models: Sequence[ModelPoint], tables: Mapping[str, FullTable]) -> "Figure":
    """A panel for each requirement: models by held-out loss and mean edges; sparse ones of one density are joined."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        1, len(tables), figsize=(max(WIDTH, 3.6 * len(tables)), 3.6), squeeze=False, layout="constrained"
    )
    for axes, (requirement, table) in zip(panels[0], tables.items(), strict=True):
        _panel(axes, [model for model in models if model.name in table.models], table.means)
        axes.set_title(f"{requirement}: {plural(len(table.tasks), 'task')}", loc="left")
        axes.set_xlabel("held-out loss, nats per token")
    panels[0][0].set_ylabel("edges, geometric mean over tasks")
    panels[0][0].legend(fontsize=7)
    return figure


def _panel(axes: "Axes", models: Sequence[ModelPoint], means: Mapping[str, float]) -> None:
    for kind, (marker, colour) in LOOKS.items():
        own = sorted((model for model in models if model.kind == kind), key=lambda model: model.heldout_loss)
        if not own:
            continue
        xs, ys = [model.heldout_loss for model in own], [means[model.name] for model in own]
        axes.plot(xs, ys, marker, color=colour, markersize=5, label=kind)
        if kind == "dense":
            axes.plot(xs, ys, "-", color=colour, linewidth=1)
        for model, x, y in zip(own, xs, ys, strict=True):
            axes.annotate(_label(model), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=6, color=SOFT)
    for density in sorted({model.density for model in models if model.kind == "sparse"}):
        line = sorted(
            (m for m in models if m.kind == "sparse" and m.density == density), key=lambda model: model.heldout_loss
        )
        axes.plot([m.heldout_loss for m in line], [means[m.name] for m in line], ":", color=LINE, linewidth=0.8)
    axes.set_yscale("log")


def _label(model: ModelPoint) -> str:
    if model.density == 1:
        return f"{model.d_model}, {model.n_tokens / 1e6:g}M tokens"
    return f"{model.d_model}, 1/{1 / Fraction(model.density).limit_denominator(10_000)}"


def tasks_figure(models: Sequence[ModelPoint], circuits: Sequence[CircuitPoint], requirement: str) -> "Figure":
    """A panel for each task: every circuit that met what was asked, hollow where the whole model does not do it."""
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    shown = [one for one in circuits if one.requirement == requirement and one.met and one.cell.n_edges is not None]
    tasks = sorted({one.task for one in shown})
    by_name, rows = {model.name: model for model in models}, -(-len(tasks) // COLUMNS)
    size = (WIDTH * 1.4, 0.6 + 1.9 * rows)
    figure, panels = plt.subplots(
        rows, COLUMNS, figsize=size, squeeze=False, sharex=True, sharey=True, layout="constrained"
    )
    for axes, task in zip(panels.flat, tasks, strict=False):
        for one in (one for one in shown if one.task == task):
            model = by_name[one.model]
            marker, colour = LOOKS[model.kind]
            face = colour if one.cell.model_does else "none"
            axes.plot(
                model.heldout_loss,
                max(1, one.cell.n_edges or 0),
                marker,
                color=colour,
                markerfacecolor=face,
                markersize=5,
            )
        axes.set_title(task, loc="left", fontsize=8)
        axes.set_yscale("log")
    for axes in panels.flat[len(tasks) :]:
        axes.set_axis_off()
    figure.supxlabel(
        f"held-out loss, nats per token; hollow: the whole model does not do the task ({requirement})", fontsize=8
    )
    figure.supylabel("edges", fontsize=8)
    there = {by_name[one.model].kind for one in shown}
    handles = [
        Line2D([], [], marker=marker, color=colour, linestyle="", label=kind)
        for kind, (marker, colour) in LOOKS.items()
        if kind in there
    ]
    panels[0][0].legend(handles=handles, fontsize=7)
    return figure


def ratio_figure(models: Sequence[ModelPoint], ratios: Sequence[Ratio]) -> "Figure":
    """A row for each task: how many times smaller its sparse circuit is, every sparse model and requirement a mark."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator

    tasks = sorted({row.task for one in ratios for row in one.tasks}, reverse=True)
    requirements = list(dict.fromkeys(one.requirement for one in ratios))
    figure, panels = plt.subplots(
        1, len(requirements), figsize=(max(WIDTH, 3.2 * len(requirements)), 1.4 + 0.28 * (len(tasks) + 1)),
        squeeze=False, sharey=True, layout="constrained",
    )  # fmt: skip
    labels = {model.name: _label(model) for model in models}
    groups = list(dict.fromkeys(one.group for one in ratios))
    for axes, requirement in zip(panels[0], requirements, strict=True):
        for one in (one for one in ratios if one.requirement == requirement):
            i = groups.index(one.group)
            colour = (LINE, POSITIVE, NEGATIVE, SOFT)[i % 4]
            face = colour if i < 4 else "none"
            heights = [tasks.index(row.task) + 1 for row in one.tasks]
            marks = [row.ratio for row in one.tasks]
            axes.plot(marks, heights, "o", color=colour, markerfacecolor=face, label=labels[one.models[0]])
            if one.ratio is not None:
                low, high = one.low or one.ratio, one.high or one.ratio
                error = [[one.ratio - low], [high - one.ratio]]
                axes.errorbar(one.ratio, -0.12 * i, xerr=error, fmt="D", color=colour, markerfacecolor=face, capsize=2)
        axes.axvline(1, color=SOFT, linewidth=0.7)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.minorticks_off()
        axes.set_ylim(-0.6, len(tasks) + 0.6)
        axes.set_yticks([0, *range(1, len(tasks) + 1)], ["all: mean and 95 %", *tasks])
        axes.set_title(requirement, loc="left")
        axes.set_xlabel("times fewer edges at equal loss")
    handles = {
        label: handle for axes in panels[0] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4, fontsize=7)
    return figure


def _svg(figure: "Figure") -> bytes:
    """The figure without its date, so that the same numbers give the same bytes."""
    import matplotlib.pyplot as plt

    buffer = BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    return buffer.getvalue()
