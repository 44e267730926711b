"""Which of a run's stored circuits is meant."""

from collections.abc import Sequence
from pathlib import Path

from thinwire.circuits.artefact import load_circuit
from thinwire.circuits.graph import Circuit
from thinwire.errors import UserError
from thinwire.frontier.compare import smallest
from thinwire.runs.run import load
from thinwire.runs.trained import Trained
from thinwire.storage.files import is_sealed


def directory_of(run: Trained, circuit: Circuit | str | Path) -> Path:
    """Where a circuit is kept: a directory is given back; a circuit of `run` knows its own.

    Raises `UserError` for a circuit that `run` does not hold.
    """
    if not isinstance(circuit, Circuit):
        return Path(circuit)
    if circuit.directory and circuit.directory.resolve().is_relative_to(run.path.resolve()):
        return circuit.directory
    if circuit.directory:  # of a copy of this run, perhaps
        here = run.home.joinpath("circuits", *circuit.directory.parts[-3:])
        if is_sealed(here, "circuit.json") and load_circuit(here).circuit == circuit:
            return here
    raise UserError(f"{run.path} does not hold this circuit of {circuit.task}; store it with thinwire.prune first")


def run_of(circuit: Path, device: str = "auto") -> Trained:
    """The model in whose directory a circuit lies."""
    return load(circuit.resolve().parents[3], device)


def smallest_by_task(paths: Sequence[Path]) -> dict[str, Path]:
    """Task -> directory of its smallest circuit that is solved, else of the one with the lowest validation loss."""
    by_task: dict[str, list[Path]] = {}
    for path in paths:
        by_task.setdefault(load_circuit(path).circuit.task, []).append(path)
    return {
        task: choices[smallest([load_circuit(path).circuit for path in choices])] for task, choices in by_task.items()
    }
