"""A found circuit takes its place in a run, and what was judged of the one before it stays as long as it is true."""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from thinwire.circuits.ablation import Means
from thinwire.circuits.artefact import save_circuit
from thinwire.circuits.graph import Circuit
from thinwire.errors import CorruptFile, MissingFile
from thinwire.runs.verdicts import CIRCUIT_FILES, stored_verdict
from thinwire.storage.files import read_sealed
from thinwire.storage.temporary import temporary_directory
from thinwire.tasks.task import Split
from thinwire.tasks.tokens import TaskTokens


@dataclass(frozen=True)
class Stored:
    """A circuit that has its place."""

    circuit: Circuit
    """It knows its directory."""
    void: str | None = None
    """Verdict of the circuit that lay there before and was another one."""


def store_circuit(path: Path, circuit: Circuit, means: Means, pairs: dict[Split, TaskTokens]) -> Stored:
    """Store a circuit at `path`, where one of the same task, settings and seed may lie.

    An equal one, byte for byte, stays with all that lies beside it: its verdict, its comparisons. Another goes with
    these, since they are of a circuit that is no more.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_directory(path) as temporary:
        new = temporary / path.name
        save_circuit(new, circuit, means, pairs)
        if _equal(new, path):
            return Stored(replace(circuit, directory=path))
        void = _last_verdict(path)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(new, path)
    return Stored(replace(circuit, directory=path), void)


def _equal(new: Path, old: Path) -> bool:
    try:
        return all(read_sealed(new, name) == read_sealed(old, name) for name in CIRCUIT_FILES)
    except (CorruptFile, MissingFile):
        return False


def _last_verdict(path: Path) -> str | None:
    """The verdict that is about to go, as far as it can be read."""
    try:
        return stored_verdict(path)
    except (CorruptFile, MissingFile):
        return None
