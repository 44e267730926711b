"""Check stored circuits against their model and write verify.json beside them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from thinwire.circuits.ablation import Means
from thinwire.circuits.artefact import StoredCircuit, check_belongs, load_circuit
from thinwire.circuits.graph import Circuit
from thinwire.circuits.prompts import Prompts
from thinwire.errors import UserError
from thinwire.progress import Progress, silent
from thinwire.storage import add_sealed, to_json
from thinwire.verification.necessity import necessity
from thinwire.verification.sufficiency import sufficiency
from thinwire.workflows.run import Run, load_run

N_RANDOM = 20


def verify(run: Run, circuit: Circuit | Path, *, seed: int = 0, progress: Progress = silent) -> dict[str, Any]:
    """Sufficiency and necessity of a circuit of `run`, on its test pairs.

    `circuit` is one that `thinwire.prune` returned, or the directory of one. The result is stored beside it as
    verify.json. Raises `UserError` when the circuit belongs to another model.
    """
    path = circuit if isinstance(circuit, Path) else _directory_of(run, circuit)
    stored = load_circuit(path)
    check_belongs(stored.circuit, run.model)
    result = check(run, stored, seed=seed, progress=progress)
    add_sealed(path, "verify.json", to_json(result))
    return result


def check(run: Run, stored: StoredCircuit, *, seed: int = 0, progress: Progress = silent) -> dict[str, Any]:
    """The checks themselves; writes nothing."""
    prompts = Prompts.of(stored.pairs["test"], run.device)
    means: Means = {site: mean.to(run.device) for site, mean in stored.means.items()}
    circuit = stored.circuit
    return {
        "schema_version": 1,
        "task": circuit.task,
        "status": circuit.status,
        "model_fingerprint": circuit.model_fingerprint,
        "seed": seed,
        "sufficiency": asdict(sufficiency(run.model, circuit, means, prompts)),
        "necessity": asdict(necessity(run.model, circuit, means, prompts, N_RANDOM, seed, progress)),
    }


def _directory_of(run: Run, circuit: Circuit) -> Path:
    for path in run.circuit_directories():
        if load_circuit(path).circuit == circuit:
            return path
    raise UserError(f"{run.path} does not hold this circuit of {circuit.task}; store it with thinwire.prune first")


def verify_run(
    run_path: Path,
    circuits: list[Path] | None = None,
    *,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Verify the given circuits, or all that the run holds. Raises `UserError` when there are none."""
    run = load_run(run_path, device)
    paths = circuits or list(run.circuit_directories())
    if not paths:
        raise UserError(f"{run_path} holds no circuits; find some with: thinwire prune {run_path} --task NAME")
    results = [{"path": str(path), **verify(run, path, seed=seed, progress=progress)} for path in paths]
    return {"run": str(run_path), "circuits": results}
