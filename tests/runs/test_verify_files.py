"""Any circuit can be judged from three keys: files of others, their budgets, their mistakes."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from damage import reseal

import thinwire
from thinwire.circuits.ablation import node_means
from thinwire.errors import CorruptFile, MissingFile, UserError
from thinwire.pruning.config import PruneConfig
from thinwire.runs.circuit_files import read_circuit_files
from thinwire.runs.run import Run
from thinwire.storage.files import read_sealed
from thinwire.storage.tensors import read_tensors, write_tensors
from thinwire.verification.registry import TESTS
from thinwire.workflows.verify import verify, verify_run

pytestmark = pytest.mark.usefixtures("brief_verification")


@pytest.fixture
def own_pruned(pruned_path: Path, tmp_path: Path) -> Run:
    return thinwire.load_run(shutil.copytree(pruned_path, tmp_path / "pruned"))


@pytest.fixture
def theirs(own_pruned: Run, tmp_path: Path) -> Path:
    """A directory with a circuit.json of three keys, the means, and the pairs, as the task is not a built-in one."""
    (path,) = own_pruned.circuit_directories()
    values = json.loads(read_sealed(path, "circuit.json"))
    directory = tmp_path / "theirs"
    directory.mkdir()
    kept = {name: values[name] for name in ("model_fingerprint", "task", "nodes")}
    (directory / "circuit.json").write_text(json.dumps(kept))
    for name in ("means.safetensors", "pairs.safetensors"):
        shutil.copy(path / name, directory)
    return directory


def test_three_keys_suffice_and_say_the_same_as_the_whole_artefact(own_pruned: Run, theirs: Path) -> None:
    (path,) = own_pruned.circuit_directories()
    ours = verify(own_pruned, path).to_dict()
    result = verify_run(own_pruned.path, [theirs]).circuits[0].to_dict()
    assert ours["judged_edges"] == "minimal" and result["judged_edges"] == "induced"
    assert result["sufficiency"]["loss"] == pytest.approx(ours["sufficiency"]["all_edges"]["loss"], abs=1e-5)
    assert result["status"] == "not stated"
    assert json.loads((theirs / "verify.json").read_text())["verdict"] == result["verdict"]


def test_every_test_explains_itself(own_pruned: Run) -> None:
    (path,) = own_pruned.circuit_directories()
    result = verify(own_pruned, path).to_dict()
    assert result["schema_version"] == 4 and result["budget"] == "fast"
    assert result["verdict"] in ("faithful", "sufficient only", "not supported")
    for name in TESTS:
        part = result[name]
        assert part["passed"] is {"passed": True, "failed": False, "not run": None, "reported": None}[part["verdict"]]
        assert part["sentence"].endswith(".") and (part["threshold"] or part["verdict"] == "reported")
    assert result["controls"]["passed"] is None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_full_budget_prunes_again(own_pruned: Run) -> None:
    """Controls and backups come with their numbers; the same circuit gets the same findings twice."""
    (path,) = own_pruned.circuit_directories()
    result = verify(own_pruned, path, budget="full", seed=2).to_dict()
    assert set(result["controls"]["controls"]) == {"permuted", "unrelated", "random", "shuffled"}
    assert len(result["seeds"]["circuits"]) == 20 and 1 <= len(result["seeds"]["exhausted"]) <= 3
    assert len(result["necessity"]["random_losses"]) == 200
    assert result["necessity"]["nodes_p"] >= 1 / 201


def test_without_means_they_are_measured_on_the_runs_text(own_pruned: Run, theirs: Path) -> None:
    (theirs / "means.safetensors").unlink()
    files = read_circuit_files(theirs, own_pruned)
    measured = node_means(own_pruned.model, own_pruned.windows(PruneConfig().means_tokens))
    assert all(torch.equal(files.means[site], mean) for site, mean in measured.items())


def test_a_task_of_their_own_without_pairs_is_refused(own_pruned: Run, theirs: Path) -> None:
    (theirs / "pairs.safetensors").unlink()
    with pytest.raises(UserError, match="has no pairs.safetensors and its task 'own' is no built-in one"):
        verify(own_pruned, theirs)


def test_means_that_are_not_those_of_the_run_are_refused(own_pruned: Run) -> None:
    """Every key one higher moves all scores alike: the circuit's loss is the stated one."""
    (path,) = own_pruned.circuit_directories()
    means = read_tensors(path, "means.safetensors")
    write_tensors(path / "means.safetensors", means | {"0.attn.k": means["0.attn.k"] + 1})
    reseal(path / "means.safetensors")
    with pytest.raises(CorruptFile, match=r"means\.safetensors has other means at 0\.attn\.k than .*; prune again"):
        read_circuit_files(path, own_pruned)


def test_means_that_do_not_fit_the_model_are_refused(own_pruned: Run, theirs: Path) -> None:
    write_tensors(theirs / "means.safetensors", {"embed": torch.zeros(3)})
    with pytest.raises(CorruptFile, match="does not have this model's sites and widths"):
        verify(own_pruned, theirs)
    (theirs / "means.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CorruptFile, match="is no safetensors file"):
        verify(own_pruned, theirs)
    assert not (theirs / "verify.json").exists()


def test_a_directory_without_a_circuit_and_one_without_json_are_named(own_pruned: Run, theirs: Path) -> None:
    (theirs / "circuit.json").write_text("{")
    with pytest.raises(CorruptFile, match=r"circuit.json is not valid JSON"):
        verify(own_pruned, theirs)
    (theirs / "circuit.json").unlink()
    with pytest.raises(MissingFile, match="holds no circuit"):
        verify(own_pruned, theirs)
