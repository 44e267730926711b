"""Which of a run's stored circuits is meant."""

from collections.abc import Sequence
from pathlib import Path

from thinwire.circuits.artefact import load_circuit
from thinwire.circuits.graph import Circuit
from thinwire.errors import UserError
from thinwire.frontier.compare import smallest
from thinwire.runs.run import Run


def directory_of(run: Run, circuit: Circuit) -> Path:
    """Where `run` keeps this circuit. Raises `UserError` when it does not."""
    for path in run.circuit_directories():
        if load_circuit(path).circuit == circuit:
            return path
    raise UserError(f"{run.path} does not hold this circuit of {circuit.task}; store it with thinwire.prune first")


def smallest_by_task(paths: Sequence[Path]) -> dict[str, Path]:
    """Task -> directory of its smallest circuit that is solved, else of the one with the lowest validation loss."""
    by_task: dict[str, list[Path]] = {}
    for path in paths:
        by_task.setdefault(load_circuit(path).circuit.task, []).append(path)
    return {
        task: choices[smallest([load_circuit(path).circuit for path in choices])] for task, choices in by_task.items()
    }
