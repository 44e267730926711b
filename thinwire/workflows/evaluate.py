"""Held-out loss, densities and activation shares of a run's model; its stored circuits, measured again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thinwire.circuits.artefact import evaluate_circuit, load_circuit
from thinwire.data.manifest import heldout_in_training
from thinwire.errors import UserError
from thinwire.model.structure import count_parameters
from thinwire.progress import Progress, silent
from thinwire.runs.run import Run, open_run
from thinwire.runs.trained import FINAL_TOKENS, Trained
from thinwire.storage.files import add_sealed, is_sealed, to_json
from thinwire.training.evaluate import active_shares, densities, heldout_loss


def evaluate(run_path: str | Path, *, device: str = "auto", progress: Progress = silent) -> dict[str, Any]:
    """What `thinwire eval` prints: nats per token, density per matrix, share of nonzero activations per site."""
    run = open_run(run_path, device)
    windows = run.windows(FINAL_TOKENS)
    loss = heldout_loss(run.model, windows, progress)
    final = {"fingerprint": run.fingerprint, "heldout_loss": loss, "heldout_tokens": windows[:, 1:].numel()}
    if run.origin and not is_sealed(run.path, "final.json"):
        add_sealed(run.path, "final.json", to_json(final))
    return {
        "run": str(run_path),
        **final,
        "heldout_in_training": heldout_in_training(run.corpus) if isinstance(run, Run) else None,
        **count_parameters(run.model),
        "density": densities(run.model),
        "active_share": active_shares(run.model, windows),
    }


def evaluate_circuits(
    run_path: str | Path, paths: Sequence[str | Path] = (), *, device: str = "auto", progress: Progress = silent
) -> dict[str, Any]:
    """What `thinwire eval --circuits` prints: test scores of stored circuits, from their files and the model alone.

    Without `paths` all circuits of the run are measured; one row for each kind of edges that a circuit has. Raises
    `UserError` when there are none or one belongs to another model.
    """
    run = open_run(run_path, device)
    directories = [Path(path) for path in paths] or list(run.circuit_directories())
    if not directories:
        raise UserError(f"{run_path} holds no circuits; find some with: thinwire prune {run_path} --task all")
    rows = []
    with progress("circuits", total=len(directories), unit="circuit") as advance:
        for path in directories:
            rows += _circuit_rows(run, path)
            advance(1)
    return {"run": str(run_path), "fingerprint": run.fingerprint, "circuits": rows}


def _circuit_rows(run: Trained, path: Path) -> list[dict[str, Any]]:
    stored = load_circuit(path)
    circuit = stored.circuit
    kinds = {"induced": (circuit.edges, circuit.scores)}
    if circuit.minimal_edges is not None and circuit.minimal_scores is not None:
        kinds["minimal"] = (circuit.minimal_edges, circuit.minimal_scores)
    rows = []
    for kind, (edges, scores) in kinds.items():
        found = evaluate_circuit(run.model, stored, "test", "minimal" if kind == "minimal" else "induced")
        row = {
            "task": circuit.task,
            "seed": circuit.seed,
            "status": circuit.status,
            "edges": kind,
            "n_edges": len(edges),
        }
        row |= {"test_loss": found.loss, "stored_test_loss": scores["test"].loss}
        rows.append(row | {"accuracy": found.accuracy, "kl": found.kl, "path": str(path)})
    return rows
