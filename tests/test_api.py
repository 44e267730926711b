"""The three lines of the Python API."""

import shutil
from pathlib import Path

import pytest
from tiny_world import quick

import thinwire
from thinwire.errors import MissingFile
from thinwire.storage.files import is_sealed


def test_three_lines(tiny_path: Path, tmp_path: Path, own_task: str) -> None:
    path = shutil.copytree(tiny_path, tmp_path / "run")
    run = thinwire.load(path)
    circuit = thinwire.prune(run, task=own_task, config=quick())
    checked = thinwire.verify(run, circuit)
    assert isinstance(circuit, thinwire.Circuit)
    assert circuit.status == "solved"
    assert circuit.n_edges == len(circuit.edges) > 0
    assert circuit.minimal_scores is not None
    alone = checked.findings["sufficiency"].to_dict()
    assert alone["loss"] == pytest.approx(circuit.minimal_scores["test"].loss, abs=1e-5)
    (directory,) = run.circuit_directories()
    assert is_sealed(directory, "verify.json")


def test_a_path_that_holds_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="holds no run; make one with: thinwire train --out"):
        thinwire.load_run(tmp_path)


def test_public_names_are_listed_and_there() -> None:
    names = {"load", "train", "prune", "verify", "show", "record", "graph", "load_run"}
    names |= {"PruneConfig", "Task", "Pair", "Circuit"}
    assert names | {"__version__"} == set(thinwire.__all__) <= set(dir(thinwire))
    assert all(getattr(thinwire, name) is not None for name in thinwire.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = thinwire.nonsense
