"""Other ways of choosing beside a run's circuits: what the learned gates buy.

Per task the smallest circuit that met its target is taken, with its own means, prompts and settings. The baselines'
circuits are artefacts like any other; the curves and the table lie beside the learned circuit.

    circuits/<task>/<settings hash>/<seed>/baselines.json
    baselines/<task>/<settings hash>-<method>/<seed>/
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from thinwire.circuits.artefact import StoredCircuit, load_circuit, save_circuit
from thinwire.circuits.graph import Circuit
from thinwire.errors import UserError
from thinwire.progress import Progress, silent
from thinwire.pruning.baselines import Baseline, choose_otherwise
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.describe import Identity, Problem
from thinwire.runs.run import open_run
from thinwire.runs.selection import Choice, choose_circuits
from thinwire.runs.settings import settings_name
from thinwire.runs.stored import open_circuit
from thinwire.runs.trained import Trained
from thinwire.storage.files import add_sealed, is_sealed, read_sealed_record, record_json
from thinwire.storage.records import Count, Loss, Name, Number, Seed, Share, Text

LEARNED = "gates and sweep"
"""How the table calls the learned circuit itself."""
FILE = "baselines.json"


@dataclass(frozen=True)
class WayOfChoosing:
    """One way of choosing, at equal numbers of edges, and what is left of the task."""

    method: Text
    n_nodes: Count
    edges: Count
    edges_are: Literal["induced", "chosen"]
    """Which edges are counted: all between the nodes, or single ones that were chosen."""
    validation_loss: Loss
    test_loss: Loss
    test_accuracy: Share
    n_edges_to_target: Count | None
    """Edges with which it meets the target by itself, on validation pairs; None for the learned circuit."""
    n_edges_swept: Count | None
    """What a sweep of nodes leaves of these; None where none was made or the target was missed."""


@dataclass(frozen=True)
class Comparison:
    """A learned circuit beside other ways of choosing: the content of baselines.json."""

    task: Name
    seed: Seed
    target_loss: Loss
    methods: Annotated[tuple[WayOfChoosing, ...], Meta(min_length=1)]
    """The learned circuit first."""
    curves: dict[Text, list[tuple[Count, Loss]]]
    """Method -> (edges, validation loss)."""
    settings: Text = ""
    """Of the learned circuit: what differs from the defaults."""
    n_test_pairs: Count | None = None
    completeness_gap: Number | None = None
    """Share of the loss between all nodes removed and none that the integrated gradients miss."""


@dataclass(frozen=True)
class Comparisons:
    """What `thinwire baselines` prints."""

    run: str
    rule: str
    """Which circuit of a task was taken."""
    tasks: tuple[Comparison, ...]
    paths: dict[str, str]
    """Task -> directory of its circuit, in which the comparison lies."""


def baselines_run(
    run_path: str | Path,
    tasks: Sequence[str] = (),
    *,
    where: Sequence[str] = (),
    sweep: bool = False,
    device: str = "auto",
    progress: Progress = silent,
) -> Comparisons:
    """Compare the smallest circuit of each task that met its target with its baselines.

    Without `tasks` every task with such a circuit is taken; `where` narrows the circuits, which are never chosen among
    settings that ask for different things (see `runs.selection.choose`). `sweep` also sweeps the smallest sets of nodes
    with which the baselines meet the target. Raises `UserError` when there is no such circuit.
    """
    run = open_run(run_path, device)
    choice = choose_circuits(run, where)
    found = _met(run, choice, tasks)
    compared = []
    with progress("baselines", total=len(found), unit="task") as advance:
        for path in found.values():
            compared.append(baselines(run, path, sweep=sweep, progress=progress))
            advance(1)
    paths = {task: str(path) for task, path in found.items()}
    return Comparisons(str(run_path), choice.rule, tuple(compared), paths)


def _met(run: Trained, choice: Choice, tasks: Sequence[str]) -> dict[str, Path]:
    """Task -> directory of its chosen circuit, if that met its target. Raises `UserError` naming a task without one."""
    found = {task: path for task, path in choice.circuits.items() if load_circuit(path).circuit.target_met}
    wanted = [Path(task).stem if task.endswith(".jsonl") else task for task in tasks] or list(found)
    if missing := [task for task in wanted if task not in found]:
        raise UserError(
            f"{run.home} holds no circuit of {missing[0]} that met its target; look for one with: "
            f"thinwire prune {run.home} {missing[0]}"
        )
    if not found:
        raise UserError(
            f"{run.home} holds no circuit that met its target; find some with: thinwire prune {run.home} all"
        )
    return {task: found[task] for task in wanted}


def baselines(run: Trained, path: Path, *, sweep: bool = False, progress: Progress = silent) -> Comparison:
    """The learned circuit at `path` and its baselines; everything is stored in the run."""
    stored = open_circuit(run, path)
    circuit = stored.circuit
    config = PruneConfig.of(circuit.hyperparameters, circuit.seed)
    found, gap = choose_otherwise(_problem(run, stored), circuit, config, sweep=sweep, progress=progress)
    for method, baseline in found.items():
        home = run.home / "baselines" / circuit.task / f"{config.settings_hash()}-{method}" / str(circuit.seed)
        shutil.rmtree(home, ignore_errors=True)
        save_circuit(home, baseline.circuit, stored.means, stored.pairs)
    result = _comparison(circuit, found, gap)
    add_sealed(path, FILE, record_json(result))
    return result


def stored_comparison(path: Path) -> Comparison | None:
    """The baselines.json in a circuit's directory; None where it was not compared. Raises `CorruptFile`."""
    return read_sealed_record(Comparison, path, FILE) if is_sealed(path, FILE) else None


def _problem(run: Trained, stored: StoredCircuit) -> Problem:
    circuit = stored.circuit
    identity = Identity(circuit.task, circuit.task_version, circuit.model_fingerprint, circuit.tokenizer_sha256)
    return Problem(run.model, stored.pairs, stored.means, identity, circuit.norm_scales)


def _comparison(learned: Circuit, found: dict[str, Baseline], gap: float) -> Comparison:
    rows = [_row(LEARNED, learned, None, learned.n_edges)]
    for method, baseline in found.items():
        swept = baseline.swept.n_edges if baseline.swept and baseline.swept.target_met else None
        rows.append(_row(method, baseline.circuit, baseline.curve.n_edges, swept))
    return Comparison(
        learned.task,
        learned.seed,
        learned.target_loss,
        tuple(rows),
        {method: baseline.curve.points for method, baseline in found.items()},
        settings_name(learned.hyperparameters),
        learned.scores["test"].n_pairs,
        gap,
    )


def _row(method: str, circuit: Circuit, n_edges_to_target: int | None, n_edges_swept: int | None) -> WayOfChoosing:
    by_edge = circuit.unswept is None and circuit.minimal_edges is not None
    scores = circuit.minimal_scores if by_edge and circuit.minimal_scores else circuit.scores
    return WayOfChoosing(
        method=method,
        n_nodes=circuit.n_nodes,
        edges=len(circuit.minimal_edges or () if by_edge else circuit.edges),
        edges_are="chosen" if by_edge else "induced",
        validation_loss=scores["validation"].loss,
        test_loss=scores["test"].loss,
        test_accuracy=scores["test"].accuracy,
        n_edges_to_target=n_edges_to_target,
        n_edges_swept=n_edges_swept,
    )
