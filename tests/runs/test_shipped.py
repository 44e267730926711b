"""A model is packed small, travels with the package, and is a run wherever one is asked for."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_world import quick

import thinwire
from thinwire.cli.main import main
from thinwire.data.manifest import CorpusManifest
from thinwire.errors import CorruptFile, UserError
from thinwire.runs import shipped
from thinwire.runs.run import Run, load
from thinwire.runs.trained import Origin, create_imported
from thinwire.storage.files import read_sealed, read_sealed_record
from thinwire.workflows.export_model import PACKED_TOKENS, export_model


@pytest.fixture(scope="module")
def packed(tiny_path: Path, own_task: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run packed, with one circuit."""
    path = tmp_path_factory.mktemp("packed") / "headline"
    assert main(["export", "thinwire", str(tiny_path), "--out", str(path)]) == 0
    thinwire.prune(load(path, "cpu"), own_task, quick(sweep="none"))
    return path


@pytest.fixture
def comes_with_it(packed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A package whose only model is the packed one; its folder cannot be written by mistake unnoticed."""
    folder = tmp_path / "package"
    shutil.copytree(packed, folder / "headline")
    monkeypatch.setattr(shipped, "SHIPPED", folder)
    monkeypatch.setenv("THINWIRE_CACHE", str(tmp_path / "cache"))
    return folder


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_packed_model_is_small_and_nearly_the_one_it_was(packed: Path, tiny_run: Run) -> None:
    found, weights = load(packed, "cpu"), tiny_run.model.state_dict()
    assert found.fingerprint != tiny_run.fingerprint  # another model, and said so
    for name, weight in found.model.state_dict().items():
        assert torch.equal(weight, weights[name].half().float())
    n_nonzero = sum(int(weight.count_nonzero()) for weight in weights.values())
    assert (packed / "model.safetensors").stat().st_size < 6 * n_nonzero + 8192
    assert found.heldout_loss() == pytest.approx(tiny_run.heldout_loss(), abs=0.01)
    assert len(found.heldout) <= PACKED_TOKENS
    assert found.origin and "rounded to half precision: loss on the text that travels" in found.origin.remarks[1]
    assert read_sealed(packed, "training.yaml") == read_sealed(tiny_run.path, "config.yaml")
    corpus = read_sealed_record(CorpusManifest, packed, "corpus.json")
    assert corpus == replace(tiny_run.corpus, files=()) != tiny_run.corpus  # what it learnt from, but for the list


def test_an_imported_model_is_packed_too(tiny_run: Run, tmp_path: Path, packed: Path) -> None:
    create_imported(tmp_path / "in", tiny_run.model, tiny_run.tokenizer, Origin("gpt2", "elsewhere"), tiny_run.heldout)
    export_model("thinwire", tmp_path / "in", tmp_path / "out")
    assert load(tmp_path / "out").fingerprint == load(packed).fingerprint
    assert not (tmp_path / "out" / "training.yaml").exists()


def test_weights_that_half_precision_cannot_hold_are_refused(tiny_run: Run, tmp_path: Path, packed: Path) -> None:
    model = load(packed, "cpu").model
    with torch.no_grad():
        model.get_parameter("blocks.0.mlp.neuron.weight").view(-1)[0] = 1e5
    create_imported(tmp_path / "in", model, tiny_run.tokenizer, Origin("gpt2", "elsewhere"), tiny_run.heldout)
    with pytest.raises(UserError, match=r"blocks\.0\.mlp\.neuron\.weight holds weights beyond 65504"):
        export_model("thinwire", tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_its_name_is_a_run_for_python_and_for_verbs(
    comes_with_it: Path, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(comes_with_it)
    run = thinwire.load("headline", "cpu")
    assert run.fingerprint == load(packed).fingerprint
    assert [path.name for path in run.circuit_directories()] == ["0"]
    assert main(["eval", "headline", "--circuits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["circuits"][0]["task"] == next(run.path.glob("circuits/*")).name
    assert files_of(comes_with_it) == before


def test_what_is_found_out_lies_in_the_cache_and_stays(comes_with_it: Path, own_task: str) -> None:
    before = files_of(comes_with_it)
    run = thinwire.load("headline", "cpu")
    circuit = thinwire.prune(run, own_task, quick(seed=7, sweep="none"))
    again = thinwire.load("headline", "cpu")
    assert circuit.directory in list(again.circuit_directories())
    assert files_of(comes_with_it) == before


def test_the_demo_shows_it_without_training(
    comes_with_it: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert comes_with_it.exists()
    out = tmp_path / "shown"
    assert main(["demo", "--pretrained", "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["view"] == str(out / "view.html") and "</html>" in (out / "view.html").read_text(encoding="utf-8")
    (circuit,) = found["circuits"]
    assert found["shown"] == [circuit["path"]]
    assert circuit["verdict"] is None and circuit["path"].startswith(str(out / "headline" / "circuits"))
    assert found["density"] == pytest.approx(0.3, abs=0.01)
    assert main(["demo", "--pretrained", "--out", str(out)]) == 0  # again: the same page, nothing in the way
    shown = capsys.readouterr().out
    assert "circuits of the model that comes with the package" in shown and "unverified" in shown


def test_what_it_has_no_use_for_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--dry_run", "--seed=3"):
        assert main(["demo", "--pretrained", "--out", str(tmp_path / "out"), option]) == 2
        assert "--pretrained trains nothing and draws nothing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_version_without_a_model_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path)
    assert main(["demo", "--pretrained", "--out", str(tmp_path / "out")]) == 2
    assert "comes without a model; train one with: thinwire demo" in capsys.readouterr().err


def test_a_folder_of_that_name_comes_first(
    comes_with_it: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert comes_with_it.exists()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "headline").mkdir()
    with pytest.raises(UserError, match="headline holds no run"):
        thinwire.load("headline")


def test_a_damaged_package_is_told(comes_with_it: Path) -> None:
    weights = comes_with_it / "headline" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    with pytest.raises(CorruptFile, match=r"model\.safetensors"):
        _ = thinwire.load("headline").model


def test_a_cache_that_cannot_be_written_is_told(
    comes_with_it: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert comes_with_it.exists()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("THINWIRE_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set THINWIRE_CACHE to another folder"):
        thinwire.load("headline")


def test_an_unknown_name_is_no_model(comes_with_it: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are: headline"):
        shipped.copy_shipped("other", tmp_path / "other")
    assert comes_with_it.exists()
