"""Find the circuits of a run's model and store them in its directory."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from thinwire.circuits.ablation import Means, node_means, zero_means
from thinwire.circuits.artefact import StoredCircuit, load_circuit, save_circuit
from thinwire.circuits.config import PruneConfig
from thinwire.circuits.graph import Circuit
from thinwire.circuits.prune import Identity
from thinwire.circuits.prune import prune as prune_model
from thinwire.errors import CorruptFile
from thinwire.progress import Progress, silent
from thinwire.storage import MANIFEST
from thinwire.tasks.registry import get_task
from thinwire.tasks.task import SPLITS, Split
from thinwire.tasks.tokens import TaskTokens, tokenize
from thinwire.workflows.run import Run, load_run


def circuit_directory(run: Run, task: str, config: PruneConfig) -> Path:
    """Where the circuit of a task, settings and seed lives."""
    return run.path / "circuits" / task / config.settings_hash() / str(config.seed)


def task_pairs(run: Run, task: str) -> dict[Split, TaskTokens]:
    """The three splits of a task in the run's tokens. Raises `Unavailable` when the vocabulary has no answers."""
    found = get_task(task)
    return {split: tokenize(found, run.tokenizer, split, run.config.model.context) for split in SPLITS}


def means_of(run: Run, config: PruneConfig, progress: Progress = silent) -> Means:
    """What stands in for removed nodes under `config.ablation`."""
    if config.ablation == "zero":
        return zero_means(run.model)
    return node_means(run.model, run.windows(config.means_tokens), progress)


def prune(
    run: Run,
    task: str,
    config: PruneConfig | None = None,
    *,
    means: Means | None = None,
    resume: bool = True,
    progress: Progress = silent,
) -> Circuit:
    """Find the circuit of `task` in the model of `run` and store it under `circuit_directory`.

    `task` is a name (`thinwire tasks list`) or a .jsonl file of own pairs. With `resume` a circuit that is stored
    already for this model, task, settings and seed is returned as it is. `means` saves measuring them again for
    many tasks. Raises `UserError` for an unknown task or one whose answers are no tokens here.
    """
    config = config or PruneConfig()
    found = get_task(task)
    path = circuit_directory(run, found.name, config)
    if resume and (stored := _stored(path, run, found.version)) is not None:
        return stored.circuit
    pairs = task_pairs(run, task)
    means = means if means is not None else means_of(run, config, progress)
    identity = Identity(found.name, found.version, run.fingerprint, run.tokenizer.sha256)
    circuit = prune_model(run.model, pairs, means, config, identity, progress)
    shutil.rmtree(path, ignore_errors=True)
    save_circuit(path, circuit, means, pairs)
    return circuit


def _stored(path: Path, run: Run, task_version: int) -> StoredCircuit | None:
    """The circuit at `path` if it is whole and of this model and task version."""
    if not (path / MANIFEST).exists():
        return None
    try:
        stored = load_circuit(path)
    except CorruptFile:
        return None
    same = (stored.circuit.model_fingerprint, stored.circuit.task_version) == (run.fingerprint, task_version)
    return stored if same else None


def prune_run(
    run_path: Path,
    tasks: list[str],
    config: PruneConfig,
    *,
    seeds: int = 1,
    resume: bool = True,
    device: str = "auto",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Prune several tasks with `seeds` seeds each, from `config.seed` on; the result is what `--json` prints."""
    run = load_run(run_path, device)
    means = means_of(run, config, progress)
    results = []
    for task in tasks:
        for seed in range(config.seed, config.seed + seeds):
            settings = replace(config, seed=seed)
            circuit = prune(run, task, settings, means=means, resume=resume, progress=progress)
            results.append(summarise(circuit, circuit_directory(run, circuit.task, settings)))
    return {"run": str(run_path), "circuits": results}


def summarise(circuit: Circuit, path: Path) -> dict[str, Any]:
    """One circuit as a row: what `thinwire prune` prints."""
    test, whole = circuit.scores["test"], circuit.model_scores["test"]
    return {
        "task": circuit.task,
        "seed": circuit.seed,
        "status": circuit.status,
        "n_nodes": circuit.n_nodes,
        "n_edges": circuit.n_edges,
        "target_loss": circuit.target_loss,
        "best_validation_loss": min(loss for _, loss in circuit.loss_curve),
        "validation": asdict(circuit.scores["validation"]),
        "test": asdict(test),
        "model_test": asdict(whole),
        "path": str(path),
    }
