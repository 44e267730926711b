"""How a circuit forms: what the model, and its circuit at each kept step of the training, make of a task.

A kept step (`train.keep_every_steps`) is a model like any other. Where `thinwire prune RUN TASK --step N` found a
circuit in it, under the settings and seed of a circuit of the last step, the two are set side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from thinwire.circuits.graph import Circuit
from thinwire.circuits.overlap import jaccard
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.circuits.score import two_way_score
from thinwire.errors import UserError
from thinwire.progress import Progress, silent
from thinwire.runs.run import Run
from thinwire.runs.stored import open_circuit
from thinwire.storage.files import is_sealed
from thinwire.tasks.tokens import TaskTokens
from thinwire.training.checkpoint import kept_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class CircuitThen:
    """A circuit on the way."""

    n_nodes: int
    n_edges: int
    test_loss: float
    target_met: bool
    overlap: float
    """Share of nodes that it has in common with the last step's (Jaccard)."""


@dataclass(frozen=True)
class Moment:
    """One step of a training, and one task."""

    step: int
    tokens: int
    """Seen until then."""
    model_loss: float
    """Task loss of the whole model, on the test pairs of the last step's circuit."""
    model_accuracy: float
    circuit: CircuitThen | None
    """None where none was looked for."""


@dataclass(frozen=True)
class Forming:
    """A circuit of the last step, and how it came about."""

    task: str
    path: str
    n_test_pairs: int
    moments: tuple[Moment, ...]
    """By step; the last one is the circuit itself."""


def forming(run: Run, circuits: Sequence[Path], progress: Progress = silent) -> list[Forming]:
    """`Forming` of each of the run's `circuits`. Raises `UserError` where the run kept no steps."""
    steps = [*kept_steps(run.path), run.config.n_steps]
    if len(steps) == 1:
        raise UserError(
            f"{run.path} keeps no weights of earlier steps; train with --train.keep_every_steps N to keep some"
        )
    stored = {path: open_circuit(run, path) for path in circuits}
    rows: dict[Path, list[Moment]] = {path: [] for path in circuits}
    with progress("steps", total=len(steps), unit="step") as advance:
        for step in steps:
            then = run if step == run.config.n_steps else replace(run, step=step)
            for path, last in stored.items():
                rows[path].append(_moment(then, step, last.circuit, path, last.pairs["test"]))
            advance(1)
    return [
        Forming(last.circuit.task, str(path), len(last.pairs["test"].clean_length), tuple(rows[path]))
        for path, last in stored.items()
    ]


def _moment(run: Run, step: int, last: Circuit, path: Path, pairs: TaskTokens) -> Moment:
    prompts = Prompts.of(pairs, run.device)
    whole = two_way_score(logit_difference(run.model, prompts), prompts)
    tokens = step * run.config.train.batch_size * run.config.model.context
    return Moment(step, tokens, whole.loss, whole.accuracy, _circuit_then(run, path, last))


def _circuit_then(run: Run, path: Path, last: Circuit) -> CircuitThen | None:
    """The circuit of the same task, settings and seed in the model of another step."""
    here = run.home.joinpath("circuits", *path.parts[-3:])
    if not is_sealed(here, "circuit.json"):
        return None
    found = open_circuit(run, here).circuit
    return CircuitThen(
        n_nodes=found.n_nodes,
        n_edges=found.n_edges,
        test_loss=found.scores["test"].loss,
        target_met=found.target_met,
        overlap=jaccard(found.nodes, last.nodes),
    )


# --- the figure -----------------------------------------------------------------------------------------------------


def draw_forming(found: Forming, axes: "tuple[Axes, Axes, Axes]", colors: tuple[str, str]) -> None:
    """Loss, size and overlap against training tokens; a hollow point is a circuit that misses its target."""
    losses, sizes, overlaps = axes
    line, soft = colors
    millions = [moment.tokens / 1e6 for moment in found.moments]
    losses.plot(millions, [m.model_loss for m in found.moments], "-o", color=soft, ms=2.5, lw=1, label="whole model")
    then = [(m.tokens / 1e6, m.circuit) for m in found.moments if m.circuit]
    at, circuits = [x for x, _ in then], [circuit for _, circuit in then]
    losses.plot(at, [c.test_loss for c in circuits], "-o", color=line, ms=2.5, lw=1, label="circuit alone")
    sizes.plot(at, [max(c.n_edges, 1) for c in circuits], "-", color=line, lw=1)
    for x, circuit in then:
        face = line if circuit.target_met else "white"
        sizes.plot([x], [max(circuit.n_edges, 1)], "o", color=line, markerfacecolor=face, ms=3)
    overlaps.plot(at, [c.overlap for c in circuits], "-o", color=line, ms=2.5, lw=1)
    losses.set(ylabel=f"loss, {found.n_test_pairs} test pairs (nats)")
    sizes.set(yscale="log", ylabel="edges (hollow: target missed)")
    overlaps.set(ylim=(0, 1.03), ylabel="nodes shared with the last")
    for one in axes:
        one.set(xlabel="training tokens (millions)", xlim=(0, 1.03 * millions[-1]))
    losses.legend(fontsize=6.5)
