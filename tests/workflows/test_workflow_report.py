"""One run's report: one HTML file that needs nothing else."""

import json
import re
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load, save
from tiny_world import quick

import thinwire
from thinwire.circuits.artefact import load_circuit
from thinwire.errors import CorruptFile, UserError
from thinwire.runs.verdicts import CIRCUIT_FILES
from thinwire.storage.files import add_sealed, read_sealed, record_json, seal
from thinwire.workflows.baselines import Comparison, WayOfChoosing
from thinwire.workflows.prune import prune
from thinwire.workflows.report import report_run
from thinwire.workflows.view import view


def test_one_self_contained_page(pruned_path: Path, tmp_path: Path) -> None:
    path = shutil.copytree(pruned_path, tmp_path / "run")
    result = report_run(path)
    page = read_sealed(path, "report.html").decode()
    assert result.report == str(path / "report.html")
    assert page.lower().startswith("<!doctype html>")
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert not re.search(r"<link\b|@import|url\(\s*['\"]?https?:", page)
    (directory,) = thinwire.load_run(path).circuit_directories()
    circuit = load_circuit(directory).circuit
    assert circuit.task in page
    assert f"{circuit.n_edges:,}" in page
    assert result.circuits == {circuit.task: str(directory)}


def test_the_page_shows_the_baselines_that_were_run(pruned_path: Path, tmp_path: Path) -> None:
    path = shutil.copytree(pruned_path, tmp_path / "run")
    report_run(path)
    assert "Other ways of choosing" not in read_sealed(path, "report.html").decode()
    (directory,) = thinwire.load_run(path).circuit_directories()
    way = WayOfChoosing("random", 2, 3, "induced", 0.7, 0.7, 0.5, 4, None)
    add_sealed(directory, "baselines.json", record_json(Comparison("own", 0, 0.15, (way,), {"random": []})))
    report_run(path)
    assert "Other ways of choosing" in read_sealed(path, "report.html").decode()
    add_sealed(directory, "baselines.json", '{"methods": []}')
    with pytest.raises(CorruptFile, match=r"baselines\.json"):
        report_run(path)


def test_a_circuit_that_does_not_give_its_stated_loss_is_not_shown(pruned_path: Path, tmp_path: Path) -> None:
    path = shutil.copytree(pruned_path, tmp_path / "run")
    (directory,) = thinwire.load_run(path).circuit_directories()
    means = directory / "means.safetensors"
    means.write_bytes(save({site: mean + 100 for site, mean in load(means.read_bytes()).items()}))
    (directory / "verify.json").unlink()
    seal(directory, CIRCUIT_FILES)
    for show in (report_run, lambda run: view([run], device="cpu")):
        with pytest.raises(CorruptFile, match="does not give the test loss that its circuit.json states"):
            show(path)
    assert not list(path.glob("*.html"))


@pytest.mark.parametrize("stated", [0.0, 3.0])
def test_a_run_that_does_not_have_its_stated_loss_is_not_reported(
    pruned_path: Path, tmp_path: Path, stated: float
) -> None:
    path = shutil.copytree(pruned_path, tmp_path / "run")
    final = json.loads(read_sealed(path, "final.json"))
    add_sealed(path, "final.json", json.dumps(final | {"heldout_loss": stated}))
    with pytest.raises(CorruptFile, match=f"states a held-out loss of {stated:g} and the model has"):
        report_run(path)
    assert not (path / "report.html").exists()


def test_the_page_can_go_elsewhere_and_leaves_the_run_alone(pruned_path: Path, tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in pruned_path.rglob("*")}
    out = tmp_path / "deep" / "page.html"
    assert report_run(pruned_path, out).report == str(out)
    assert [p.name for p in out.parent.iterdir()] == ["page.html"]
    assert {p: p.stat().st_mtime_ns for p in pruned_path.rglob("*")} == before


def test_a_page_shows_and_names_what_was_asked_for(pruned_path: Path, own_task: str, tmp_path: Path) -> None:
    """One task, found under three different questions: a page answers one of them, and says which."""
    run = thinwire.load_run(shutil.copytree(pruned_path, tmp_path / "run"))
    (plain,) = run.circuit_directories()
    loose = prune(run, own_task, quick(target_loss=0.5, sweep="none", steps=5)).directory
    zeros = prune(run, own_task, quick(ablation="zero", sweep="none", steps=5, seed=1)).directory
    seen = report_run(run.path)
    assert seen.circuits == {own_task_name(plain): str(plain)}
    assert "1 with ablation=zero sweep=none, 1 with target_loss=0.5 sweep=none" in seen.rule
    page = read_sealed(run.path, "report.html").decode()
    assert "(loss at most 0.15)" in page and "held at its average over held-out code" in page
    for where, circuit, said in (
        (["target_loss=0.5"], loose, "(loss at most 0.5)"),
        (["ablation=zero", "seed=1"], zeros, "every other channel is set to zero"),
    ):
        seen = report_run(run.path, where=where)
        page = read_sealed(run.path, "report.html").decode()
        assert seen.circuits == {own_task_name(plain): str(circuit)}
        assert said in page and f"--where {' '.join(where)}" in page and where[0] in seen.rule
        assert "(loss at most 0.15) when every other channel is held" not in page
    with pytest.raises(UserError, match="no circuit here has seed=7"):
        report_run(run.path, where=["seed=7"])


def own_task_name(directory: Path) -> str:
    return load_circuit(directory).circuit.task


def test_a_run_without_circuits_says_how_to_find_some(tiny_path: Path) -> None:
    with pytest.raises(UserError, match="holds no circuits; find some with: thinwire prune"):
        report_run(tiny_path)
    assert not (tiny_path / "report.html").exists()
