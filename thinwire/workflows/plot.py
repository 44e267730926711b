"""Figures for papers, with matplotlib: training curves, loss against size, circuits; as SVG, PDF or PNG."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinwire.circuits.artefact import load_circuit
from thinwire.circuits.graph import Circuit
from thinwire.errors import MissingExtra, UserError
from thinwire.evidence.gather import answer_weights
from thinwire.model.config import ModelConfig
from thinwire.model.sites import is_in_head
from thinwire.progress import Progress, silent
from thinwire.runs.run import Run, open_run
from thinwire.runs.selection import Where, select
from thinwire.runs.settings import settings_name, settings_words
from thinwire.runs.stored import open_circuit
from thinwire.runs.trained import Trained
from thinwire.runs.verdicts import stored_verdict
from thinwire.viewer.constants import NOT_VERIFIED
from thinwire.viewer.layout import Layout, layout
from thinwire.viewer.markup import visible
from thinwire.viewer.wording import plural
from thinwire.workflows.baselines import Comparison, stored_comparison
from thinwire.workflows.forming import Forming, draw_forming, forming
from thinwire.workflows.report import prompt_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("svg", "pdf", "png")
POSITIVE, NEGATIVE, LINE, SOFT = "#1f6299", "#b4481c", "#0a6f63", "#5b616a"
LINES = ((LINE, "-"), (POSITIVE, "--"), (POSITIVE, ":"), (NEGATIVE, "-."), (SOFT, (0, (1, 1))))
"""Colour and dashes of the baselines' curves: told apart without colour too."""
WIDTH = 5.5
"""Inches: one column of text."""
LEGEND = 0.55
"""Inches under a circuit for its legend."""
LABELLED_SLOT = 26
"""Pixels between nodes from which on they carry their channel."""
DPI = 200
STYLE: Any = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7,
    "svg.fonttype": "none", "svg.hashsalt": "thinwire", "pdf.fonttype": 42, "legend.frameon": False,
}  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """What `thinwire plot` prints."""

    run: str
    figures: tuple[str, ...]
    """The files that were written."""
    forming: tuple[Forming, ...] = ()
    """The numbers of figures over the training."""


def plot_run(
    run_path: str | Path,
    out: str | Path | None = None,
    *,
    formats: Sequence[str] = ("svg",),
    where: Sequence[str] = (),
    over_training: bool = False,
    device: str = "auto",
    progress: Progress = silent,
) -> Figures:
    """Draw a run's training and its circuits into `out`, by default RUN/figures; `where` narrows the circuits.

    `over_training` draws how each circuit came about instead (`workflows.forming`). Raises `UserError` for an unknown
    format, without matplotlib, and where no circuit meets `where`.
    """
    if unknown := set(formats) - set(FORMATS):
        raise UserError(f"unknown format {', '.join(sorted(unknown))}; there are: {', '.join(FORMATS)}")
    run = open_run(run_path, device)
    out = Path(out) if out else Path(run_path) / "figures"
    out.mkdir(parents=True, exist_ok=True)
    try:
        from matplotlib import rc_context
    except ImportError:
        raise MissingExtra("thinwire plot needs matplotlib", "plot", "matplotlib") from None
    files = []
    with rc_context(STYLE):
        circuits = select(run.circuit_directories(), Where.of(where))
        formed = _forming(run, circuits, progress) if over_training else {}
        figures = {n: forming_figure(f) for n, f in formed.items()} if over_training else _figures(run, circuits)
        with progress("figures", total=len(figures) * len(formats), unit="file") as advance:
            for name, figure in figures.items():
                for kind in formats:
                    files.append(str(_save(figure, out / f"{name}.{kind}")))
                    advance(1)
    return Figures(str(run_path), tuple(files), tuple(formed.values()))


def _forming(run: Trained, circuits: Sequence[Path], progress: Progress) -> dict[str, Forming]:
    """File name without its ending -> how a circuit came about."""
    if not isinstance(run, Run) or run.step is not None:
        raise UserError(f"{run.path} is not a whole training; name the directory that thinwire train made")
    if not circuits:
        raise UserError(f"{run.path} holds no circuits; find some with: thinwire prune {run.path} single_double_quote")
    names = file_names({path: load_circuit(path).circuit for path in circuits})
    found = forming(run, circuits, progress)
    return {f"forming-{names[path]}": one for path, one in zip(circuits, found, strict=True)}


def _figures(run: Trained, circuits: Sequence[Path]) -> dict[str, "Figure"]:
    """File name without its ending -> figure."""
    figures = {"training": training_figure(run)} if isinstance(run, Run) else {}
    names = file_names({path: load_circuit(path).circuit for path in circuits})
    for path in circuits:
        stored = open_circuit(run, path)
        circuit, name = stored.circuit, names[path]
        verdict = stored_verdict(path) or NOT_VERIFIED
        figures[f"loss-{name}"] = ladder_figure(circuit, verdict)
        figures[f"circuit-{name}"] = circuit_figure(
            circuit,
            run.model_config,
            answer_weights(run.model, circuit),
            verdict,
            prompt_text(stored, run.tokenizer),
        )
        if (compared := stored_comparison(path)) is not None:
            figures[f"baselines-{name}"] = baselines_figure(compared)
    return figures


def file_names(circuits: Mapping[Path, Circuit]) -> dict[Path, str]:
    """Circuit -> its name in a folder: task, what differs from the default settings, seed.

    `single_double_quote-require=faithful-seed0`; the settings' hash follows where two would have the same name.
    """
    names = {path: _file_name(circuit) for path, circuit in circuits.items()}
    counts = Counter(names.values())
    return {
        path: name if counts[name] == 1 else f"{name}-{path.parent.name[:6]}"  # the folder is called by the hash
        for path, name in names.items()
    }


def _file_name(circuit: Circuit) -> str:
    settings = re.sub(r"[^\w=.+-]+", "-", settings_name(circuit.hyperparameters))[:80]
    return f"{circuit.task}-{settings}-seed{circuit.seed}"


def _figure(height: float, columns: int = 1) -> tuple["Figure", list["Axes"]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, [figure.add_subplot(1, columns, i + 1) for i in range(columns)]


def _logarithmic(axes: "Axes") -> None:
    """Both axes in powers of ten; losses, which may span less than one, also at 2 and 5."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set(xscale="log", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def _save(figure: "Figure", path: Path) -> Path:
    """Write the figure without its date, so that the same numbers give the same file."""
    dated: dict[str, Mapping[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
    figure.savefig(path, dpi=DPI, metadata=dict(dated[path.suffix[1:]]))
    return path


def training_figure(run: Run) -> "Figure":
    """Training and held-out loss (nats per token), and density, against tokens."""
    rows = run.metrics
    figure, (losses, density) = _figure(2.4, columns=2)
    millions = [row.tokens / 1e6 for row in rows]
    losses.plot(millions, [row.loss for row in rows], color=LINE, lw=0.8, label="training")
    held = [(row.tokens / 1e6, row.heldout_loss) for row in rows if row.heldout_loss is not None]
    if held:
        losses.plot(*zip(*held, strict=True), "o", color="black", ms=3, label="held out")
    losses.set(xlabel="training tokens (millions)", ylabel="loss (nats per token)")
    losses.legend()
    density.plot(millions, [row.density for row in rows], color=LINE, lw=1.2)
    density.set(xlabel="training tokens (millions)", ylabel="density (share of weights)", ylim=(0, 1.03))
    return figure


def _title(circuit: Circuit, verdict: str) -> str:
    """The task, its circuit's size with the verdict, and under which settings it was found."""
    size = f"{plural(circuit.n_edges, 'edge')}, {verdict}"
    return f"{circuit.task}: {size}\n{settings_words(circuit.hyperparameters)}, seed {circuit.seed}"


def ladder_figure(circuit: Circuit, verdict: str) -> "Figure":
    """Validation loss at every number of nodes that the bisection looked at, and the circuit that was taken."""
    figure, (axes,) = _figure(2.6)
    counts = [max(k, 1) for k, _ in circuit.loss_curve]
    axes.plot(
        counts, [loss for _, loss in circuit.loss_curve], "-o",
        color=LINE, ms=2.5, lw=1.1, label="the first nodes by their gates",
    )  # fmt: skip
    if circuit.target_met:
        axes.plot(
            [max(circuit.n_nodes, 1)], [circuit.scores["validation"].loss], "o",
            color="black", ms=5, label="the circuit, after the sweep",
        )  # fmt: skip
    axes.axhline(circuit.target_loss, color="black", lw=0.8, ls=":", label="target")
    whole = circuit.model_scores["validation"].loss
    axes.axhline(whole, color=SOFT, lw=0.8, ls="--", label="the whole model")
    axes.set(xlabel="nodes kept", ylabel="task loss, validation pairs (nats)")
    axes.set_title(_title(circuit, verdict), fontsize=8)
    axes.legend(fontsize=6.5)
    _logarithmic(axes)
    return figure


def baselines_figure(compared: Comparison) -> "Figure":
    """Validation loss against edges: the learned gates' order, other orders, and the learned and swept circuit."""
    figure, (axes,) = _figure(2.9)
    for (method, points), (color, dashes) in zip(compared.curves.items(), LINES, strict=True):
        edges = [max(n, 1) for n, _ in points]
        axes.plot(edges, [loss for _, loss in points], color=color, ls=dashes, lw=1.2, label=method.replace("_", " "))
    learned = compared.methods[0]
    axes.plot([max(learned.edges, 1)], [learned.validation_loss], "o", color="black", ms=5, label=learned.method)
    axes.axhline(compared.target_loss, color="black", lw=0.8, ls=":")
    axes.set(xlabel="edges", ylabel="task loss (nats)", title=compared.task)
    _logarithmic(axes)
    axes.legend(fontsize=7)
    return figure


def forming_figure(found: Forming) -> "Figure":
    """How a circuit came about: loss, size and overlap with the last one against training tokens."""
    figure, (losses, sizes, overlaps) = _figure(2.2, columns=3)
    figure.suptitle(found.task, fontsize=8)
    draw_forming(found, (losses, sizes, overlaps), (LINE, SOFT))
    return figure


def circuit_figure(
    circuit: Circuit, config: ModelConfig, answers: Mapping[str, tuple[float, float]], verdict: str, prompt: str
) -> "Figure":
    """The drawing of the viewer: rows by layer and site, tokens' embedding at the bottom, the answers on top.

    `answers` are the weights of the kept final channels to the two answers, by node key; `prompt` is one that the
    circuit answers with the first of the two.
    """
    place = layout(circuit, config.n_layer, config.d_head)
    figure, (axes,) = _figure(WIDTH * place.height / place.width + LEGEND)
    axes.set(xlim=(0, place.width), ylim=(place.height, 0))
    axes.set_axis_off()
    axes.set_title(_title(circuit, verdict), fontsize=8)
    _draw_answers(axes, place, answers)
    _draw_edges(axes, place)
    _draw_nodes(axes, place)
    _draw_legend(figure, place, prompt)
    for row in place.rows:
        if row.n_nodes:
            axes.text(4, row.y, row.key, va="center", fontsize=5.5, color=SOFT)
    for answer in place.answers:
        axes.text(answer.x, answer.y, visible(answer.text), ha="center", va="center", fontsize=7, family="monospace",
                  bbox={"boxstyle": "round", "fc": "white", "ec": "black", "lw": 0.7})  # fmt: skip
    return figure


def _draw_answers(axes: "Axes", place: Layout, answers: Mapping[str, tuple[float, float]]) -> None:
    """Lines from the final channels to the answers, thinner than edges: these weights are not counted as such."""
    widest = max((abs(weight) for weights in answers.values() for weight in weights), default=1.0) or 1.0
    for node in (node for node in place.nodes if node.key in answers):
        for answer, weight in zip(place.answers, answers[node.key], strict=True):
            if weight:
                _line(axes, (node.x, answer.x), (node.y, answer.y), weight, max(1.2 * abs(weight) / widest, 0.2), 0.5)


def _line(
    axes: "Axes", xs: tuple[float, float], ys: tuple[float, float], weight: float, width: float, alpha: float = 0.8
) -> None:
    """One weight; negative ones are dashed as well as another colour."""
    color, dashes = (POSITIVE, "-") if weight >= 0 else (NEGATIVE, (0, (3, 1.5)))
    axes.plot(xs, ys, color=color, ls=dashes, lw=width, alpha=alpha, zorder=2)


def _draw_edges(axes: "Axes", place: Layout) -> None:
    """Width is |weight|."""
    widest = max((abs(edge.weight) for edge in place.edges), default=1.0) or 1.0
    for link in place.residual_links:
        axes.plot([link.x, link.x], [link.y_bottom, link.y_top], color="#cfd2d6", lw=0.6, zorder=1)
    for edge in sorted(place.edges, key=lambda edge: abs(edge.weight)):
        a, b = place.nodes[edge.source], place.nodes[edge.target]
        _line(axes, (a.x, b.x), (a.y, b.y), edge.weight, max(2.2 * abs(edge.weight) / widest, 0.25))


def _draw_nodes(axes: "Axes", place: Layout) -> None:
    from matplotlib.patches import Rectangle

    for box in place.heads:
        frame = Rectangle((box.x, box.y), box.width, box.height, fc="white", ec="#cfd2d6", lw=0.6, zorder=1.5)
        axes.add_patch(frame)
        name = f"head {box.head}" if box.width > 40 else str(box.head)
        behind = {"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none"}
        axes.text(box.x + 3, box.y + 7, name, fontsize=4.5, color=SOFT, zorder=4, bbox=behind)
    xs, ys = [node.x for node in place.nodes], [node.y for node in place.nodes]
    labelled = place.slot >= LABELLED_SLOT
    size = 120 if labelled else max(3.0, place.slot)
    axes.scatter(xs, ys, s=size, facecolor="white", edgecolor=SOFT, linewidth=0.6, zorder=3)
    for node in place.nodes if labelled else ():
        letter = node.site[-1] if is_in_head(node.site) else ""
        axes.text(node.x, node.y, f"{letter}{node.channel}", ha="center", va="center", fontsize=4.5, zorder=5)


def _draw_legend(figure: "Figure", place: Layout, prompt: str) -> None:
    """What lines and letters mean, and a prompt with its answer."""
    from matplotlib.lines import Line2D

    lines = {
        "positive weight": Line2D([], [], color=POSITIVE, lw=1.4),
        "negative weight": Line2D([], [], color=NEGATIVE, ls=(0, (3, 1.5)), lw=1.4),
        "same residual channel": Line2D([], [], color="#cfd2d6", lw=1),
    }
    words = f"{visible(prompt)}  \N{RIGHTWARDS ARROW}  {visible(place.answers[0].text)}"
    if place.slot >= LABELLED_SLOT and any(is_in_head(node.site) for node in place.nodes):
        words += "\nq, k, v: query, key and value channels; numbers are channels"
    figure.legend(
        lines.values(), lines.keys(), loc="outside lower center", ncols=3, fontsize=6, title=words, title_fontsize=6
    )
