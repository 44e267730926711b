"""Stored circuits are scored again from their files, which must give what circuit.json states."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import thinwire
from thinwire.cli.main import main
from thinwire.storage.files import add_sealed, read_sealed, to_json


def test_files_that_give_another_loss_than_is_stated_are_refused(
    pruned_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Means that were changed and sealed again are finite numbers like any other: only the loss tells."""
    run = shutil.copytree(pruned_path, tmp_path / "run")
    (path,) = thinwire.load_run(run).circuit_directories()
    assert main(["eval", str(run), "--circuits"]) == 0
    capsys.readouterr()
    means = load_file(path / "means.safetensors")
    save_file({site: mean * 0 + 3 for site, mean in means.items()}, tmp_path / "means.safetensors")
    add_sealed(path, "means.safetensors", (tmp_path / "means.safetensors").read_bytes())
    assert main(["eval", str(run), "--circuits"]) == 2
    assert "does not give the test loss that its circuit.json states" in capsys.readouterr().err.splitlines()[-1]


def test_a_changed_circuit_voids_its_verdict_in_tables_too(
    pruned_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(pruned_path, tmp_path / "run")
    (path,) = thinwire.load_run(run).circuit_directories()
    values = json.loads(read_sealed(path, "circuit.json"))
    add_sealed(path, "circuit.json", to_json(values | {"scope": ["byte_string"]}))
    assert main(["eval", str(run), "--circuits"]) == 2
    assert "judges another circuit than the one beside it" in capsys.readouterr().err.splitlines()[-1]
