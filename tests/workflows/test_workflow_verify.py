"""Verifying a run's circuits: measured on their stored test pairs, stored beside them, refused for other models."""

import json
import shutil
from pathlib import Path

import pytest

import thinwire
from thinwire.circuits.artefact import load_circuit
from thinwire.cli.tables import plain
from thinwire.errors import UserError
from thinwire.runs.run import Run
from thinwire.storage.files import read_sealed, to_json
from thinwire.verification.budget import BUDGETS
from thinwire.workflows.verify import verify, verify_run

pytestmark = pytest.mark.usefixtures("brief_verification")


@pytest.fixture
def own_pruned(pruned_path: Path, tmp_path: Path) -> Run:
    return thinwire.load_run(shutil.copytree(pruned_path, tmp_path / "pruned"))


def test_the_result_is_stored_beside_the_circuit(own_pruned: Run) -> None:
    (path,) = own_pruned.circuit_directories()
    result = verify(own_pruned, path)
    stored = json.loads(read_sealed(path, "verify.json"))
    assert stored == json.loads(json.dumps(result.to_dict()))
    assert stored["model_fingerprint"] == own_pruned.fingerprint
    assert load_circuit(path).circuit.task == stored["task"]


def test_sufficiency_is_the_circuits_own_test_score(own_pruned: Run) -> None:
    (path,) = own_pruned.circuit_directories()
    circuit = load_circuit(path).circuit
    assert circuit.minimal_scores is not None
    found = verify(own_pruned, circuit).to_dict()["sufficiency"]
    assert found["loss"] == pytest.approx(circuit.minimal_scores["test"].loss, abs=1e-5)
    assert found["all_edges"]["loss"] == pytest.approx(circuit.scores["test"].loss, abs=1e-5)
    assert found["accuracy"] == circuit.minimal_scores["test"].accuracy
    assert found["model_loss"] == pytest.approx(circuit.model_scores["test"].loss, abs=1e-5)


def test_necessity_takes_out_nodes_edges_and_random_sets(own_pruned: Run) -> None:
    (path,) = own_pruned.circuit_directories()
    found = verify(own_pruned, path).to_dict()["necessity"]
    n_sets = BUDGETS["fast"].random_sets
    assert len(found["random_losses"]) == n_sets
    assert found["random_mean"] == pytest.approx(sum(found["random_losses"]) / n_sets)
    assert found["nodes_loss"] > found["model_loss"]
    assert found["edges_loss"] > 0


@pytest.mark.slow
def test_the_seed_decides_the_random_sets_and_nothing_else(own_pruned: Run) -> None:
    (path,) = own_pruned.circuit_directories()
    first, again, other = (verify(own_pruned, path, seed=seed).to_dict() for seed in (0, 0, 1))
    assert first == again
    assert other["necessity"]["random_losses"] != first["necessity"]["random_losses"]
    assert other["necessity"]["nodes_loss"] == first["necessity"]["nodes_loss"]


def test_all_circuits_of_a_run_are_verified(own_pruned: Run) -> None:
    found = verify_run(own_pruned.path)
    assert [Path(circuit.path) for circuit in found.circuits] == list(own_pruned.circuit_directories())
    (path,) = own_pruned.circuit_directories()
    stored = json.loads(read_sealed(path, "verify.json"))
    assert json.loads(to_json(plain(found)))["circuits"] == [{"path": str(path), **stored}]


def test_a_run_without_circuits_says_how_to_find_some(tiny_path: Path) -> None:
    with pytest.raises(UserError, match="holds no circuits; find some with: thinwire prune"):
        verify_run(tiny_path)


def test_a_circuit_of_another_model_is_refused(own_pruned: Run) -> None:
    (path,) = own_pruned.circuit_directories()
    before = (path / "verify.json").read_bytes()
    own_pruned.model.embed.weight[0, 0] += 1.0
    with pytest.raises(UserError, match="belongs to model"):
        verify(own_pruned, path)
    assert (path / "verify.json").read_bytes() == before
