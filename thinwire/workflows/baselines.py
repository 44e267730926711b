"""Other ways of choosing beside a run's circuits: what the learned gates buy.

Per task the smallest solved circuit of the run is taken, with its own means, prompts and settings. The baselines'
circuits are artefacts like any other; the curves and the table lie beside the learned circuit.

    circuits/<task>/<settings hash>/<seed>/baselines.json
    baselines/<task>/<settings hash>-<method>/<seed>/
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thinwire.circuits.artefact import StoredCircuit, check_belongs, load_circuit, save_circuit
from thinwire.circuits.graph import Circuit
from thinwire.errors import UserError
from thinwire.progress import Progress, silent
from thinwire.pruning.baselines import Baseline, choose_otherwise
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.describe import Identity, Problem
from thinwire.runs.run import open_run
from thinwire.runs.stored import smallest_by_task
from thinwire.runs.trained import Trained
from thinwire.storage.files import add_sealed, to_json

LEARNED = "gates and sweep"
"""How the table calls the learned circuit itself."""
FILE = "baselines.json"


def baselines_run(
    run_path: str | Path,
    tasks: Sequence[str] = (),
    *,
    sweep: bool = False,
    device: str = "auto",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Compare the smallest solved circuit of each task with its baselines; the result is what `--json` prints.

    Without `tasks` every task with a solved circuit is taken. `sweep` also sweeps the smallest sets of nodes with which
    the baselines meet the target. Raises `UserError` when there is no solved circuit.
    """
    run = open_run(run_path, device)
    found = solved_circuits(run, tasks)
    compared = []
    with progress("baselines", total=len(found), unit="task") as advance:
        for path in found.values():
            compared.append(baselines(run, path, sweep=sweep, progress=progress))
            advance(1)
    return {"run": str(run_path), "tasks": compared}


def solved_circuits(run: Trained, tasks: Sequence[str]) -> dict[str, Path]:
    """Task -> directory of its smallest solved circuit. Raises `UserError` naming a task that has none."""
    smallest = smallest_by_task(list(run.circuit_directories()))
    found = {task: path for task, path in smallest.items() if load_circuit(path).circuit.status == "solved"}
    wanted = [Path(task).stem if task.endswith(".jsonl") else task for task in tasks] or list(found)
    if missing := [task for task in wanted if task not in found]:
        raise UserError(
            f"{run.path} holds no solved circuit of {missing[0]}; look for one with: "
            f"thinwire prune {run.path} {missing[0]}"
        )
    if not found:
        raise UserError(f"{run.path} holds no solved circuit; find some with: thinwire prune {run.path} --task all")
    return {task: found[task] for task in wanted}


def baselines(run: Trained, path: Path, *, sweep: bool = False, progress: Progress = silent) -> dict[str, Any]:
    """The learned circuit at `path` and its baselines; everything is stored in the run."""
    stored = load_circuit(path)
    circuit = stored.circuit
    check_belongs(circuit, run.model)
    config = PruneConfig.of(circuit.hyperparameters, circuit.seed)
    found = choose_otherwise(_problem(run, stored), circuit, config, sweep=sweep, progress=progress)
    for method, baseline in found.items():
        home = run.home / "baselines" / circuit.task / f"{config.settings_hash()}-{method}" / str(circuit.seed)
        shutil.rmtree(home, ignore_errors=True)
        save_circuit(home, baseline.circuit, stored.means, stored.pairs)
    result = _result(circuit, found)
    add_sealed(path, FILE, to_json(result))
    return {"path": str(path), **result}


def _problem(run: Trained, stored: StoredCircuit) -> Problem:
    circuit = stored.circuit
    identity = Identity(circuit.task, circuit.task_version, circuit.model_fingerprint, circuit.tokenizer_sha256)
    means = {site: mean.to(run.device) for site, mean in stored.means.items()}
    return Problem(run.model, stored.pairs, means, identity, circuit.norm_scales)


def _result(learned: Circuit, found: dict[str, Baseline]) -> dict[str, Any]:
    rows = [_row(LEARNED, learned) | {"n_edges_to_target": None, "n_edges_swept": learned.n_edges}]
    for method, baseline in found.items():
        swept = baseline.swept.n_edges if baseline.swept and baseline.swept.status == "solved" else None
        row = _row(method, baseline.circuit)
        rows.append(row | {"n_edges_to_target": baseline.curve.n_edges, "n_edges_swept": swept})
    return {
        "task": learned.task,
        "seed": learned.seed,
        "target_loss": learned.target_loss,
        "methods": rows,
        "curves": {method: baseline.curve.points for method, baseline in found.items()},
    }


def _row(method: str, circuit: Circuit) -> dict[str, Any]:
    """One way of choosing, at equal numbers of edges: which edges are counted, and what is left of the task."""
    by_edge = circuit.unswept is None and circuit.minimal_edges is not None
    scores = circuit.minimal_scores if by_edge and circuit.minimal_scores else circuit.scores
    return {
        "method": method,
        "n_nodes": circuit.n_nodes,
        "edges": circuit.n_minimal_edges if by_edge else circuit.n_edges,
        "edges_are": "chosen" if by_edge else "induced",
        "validation_loss": scores["validation"].loss,
        "test_loss": scores["test"].loss,
        "test_accuracy": scores["test"].accuracy,
    }
