"""A verdict is shown beside the circuit and the model that it was found for, and beside no other."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import thinwire
from thinwire.circuits.artefact import load_circuit
from thinwire.cli.main import main
from thinwire.errors import CorruptFile
from thinwire.runs.verdicts import stored_verdict, stored_verification
from thinwire.storage.files import add_sealed, read_sealed, to_json
from thinwire.verification.registry import TESTS


@pytest.fixture
def verified(pruned_path: Path, tmp_path: Path) -> Path:
    """The directory of a verified circuit, to change."""
    (path,) = thinwire.load_run(shutil.copytree(pruned_path, tmp_path / "run")).circuit_directories()
    return path


def edit(path: Path, name: str, **changes: Any) -> None:
    """Change keys of a JSON file and seal it again, as somebody does who knows how."""
    add_sealed(path, name, to_json(json.loads(read_sealed(path, name)) | changes))


def test_what_verify_wrote_is_read(verified: Path) -> None:
    found = stored_verification(verified)
    assert found is not None and found.verdict == stored_verdict(verified)
    values = json.loads(read_sealed(verified, "verify.json"))
    assert {name: to_json(finding.to_dict()) for name, finding in found.findings.items()} == {
        name: to_json(values[name]) for name in TESTS
    }
    assert found.judged.scope.sentence == values["scope"]["sentence"]


def test_the_verdict_of_another_circuit_is_refused(verified: Path) -> None:
    assert load_circuit(verified).circuit.seed == 0
    edit(verified, "circuit.json", target_loss=0.2)
    with pytest.raises(CorruptFile, match="judges another circuit than the one beside it; verify the circuit again"):
        stored_verdict(verified)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 3}, "was written by another version of thinwire; verify the circuit again"),
        ({"model_fingerprint": "0" * 64}, "was measured on another model"),
        ({"circuit_sha256": ""}, "judges another circuit"),
        ({"verdict": "splendid"}, "verdict: unknown value 'splendid'; verify the circuit again"),
        ({"necessity": None}, "necessity: no finding; verify the circuit again"),
        ({"necessity": {"passed": None, "sentence": "", "threshold": ""}}, "necessity: missing keys: .* and "),
        ({"scope": []}, "scope: expected `object`, got `array`|scope: expected object, got array; verify the circuit"),
        ({"mood": 1}, "unknown keys: mood; verify the circuit again"),
    ],
)
def test_a_verdict_that_was_edited_is_refused(verified: Path, changes: dict[str, Any], message: str) -> None:
    edit(verified, "verify.json", **changes)
    with pytest.raises(CorruptFile, match=message):
        stored_verification(verified)


def test_tables_say_that_the_verdict_of_another_version_is_outdated(verified: Path) -> None:
    edit(verified, "verify.json", schema_version=3)
    assert stored_verdict(verified) == "outdated"


@pytest.mark.usefixtures("brief_verification")
def test_a_verdict_that_its_tests_do_not_give_is_refused_by_every_verb(
    verified: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = verified.parents[3]
    levels = ["faithful", "sufficient only", "not supported"]
    true = stored_verdict(verified)
    for forged in (level for level in levels if level != true):
        edit(verified, "verify.json", verdict=forged)
        for verb in (["eval", str(run), "--circuits"], ["report", str(run)], ["view", str(run)]):
            assert main(verb) == 2
            line = capsys.readouterr().err.splitlines()[-1]  # on a slow machine bars stand above it
            assert "states a verdict that does not follow from its tests; verify the circuit again" in line
    assert not (run / "report.html").exists()
    assert main(["verify", str(run)]) == 0  # the remedy that the line names
    assert stored_verdict(verified) == true
