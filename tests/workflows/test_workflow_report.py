"""One run's report: one HTML file that needs nothing else."""

import json
import re
import shutil
from pathlib import Path

import pytest
from tiny_world import quick

import thinwire
from thinwire.circuits.artefact import load_circuit
from thinwire.errors import UserError
from thinwire.storage.files import add_sealed, read_sealed
from thinwire.workflows.prune import prune
from thinwire.workflows.report import report_run


def test_one_self_contained_page(pruned_path: Path, tmp_path: Path) -> None:
    path = shutil.copytree(pruned_path, tmp_path / "run")
    result = report_run(path)
    page = read_sealed(path, "report.html").decode()
    assert result["report"] == str(path / "report.html")
    assert page.lower().startswith("<!doctype html>")
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert not re.search(r"<link\b|@import|url\(\s*['\"]?https?:", page)
    (directory,) = thinwire.load_run(path).circuit_directories()
    circuit = load_circuit(directory).circuit
    assert circuit.task in page
    assert f"{circuit.n_edges:,}" in page
    assert result["circuits"] == {circuit.task: str(directory)}


def test_the_page_shows_the_baselines_that_were_run(pruned_path: Path, tmp_path: Path) -> None:
    path = shutil.copytree(pruned_path, tmp_path / "run")
    report_run(path)
    assert "Other ways of choosing" not in read_sealed(path, "report.html").decode()
    (directory,) = thinwire.load_run(path).circuit_directories()
    way = {"method": "random", "edges": 3, "test_loss": 0.7, "test_accuracy": 0.5}
    way |= {"n_edges_to_target": 4, "n_edges_swept": None}
    add_sealed(directory, "baselines.json", json.dumps({"methods": [way], "curves": {"random": []}}))
    report_run(path)
    assert "Other ways of choosing" in read_sealed(path, "report.html").decode()


def test_the_page_can_go_elsewhere_and_leaves_the_run_alone(pruned_path: Path, tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in pruned_path.rglob("*")}
    out = tmp_path / "deep" / "page.html"
    assert report_run(pruned_path, out)["report"] == str(out)
    assert [p.name for p in out.parent.iterdir()] == ["page.html"]
    assert {p: p.stat().st_mtime_ns for p in pruned_path.rglob("*")} == before


def test_a_page_shows_and_names_what_was_asked_for(pruned_path: Path, own_task: str, tmp_path: Path) -> None:
    """One task, found under three different questions: a page answers one of them, and says which."""
    run = thinwire.load_run(shutil.copytree(pruned_path, tmp_path / "run"))
    (plain,) = run.circuit_directories()
    loose = prune(run, own_task, quick(target_loss=0.5, sweep="none", steps=5)).directory
    zeros = prune(run, own_task, quick(ablation="zero", sweep="none", steps=5, seed=1)).directory
    seen = report_run(run.path)
    assert seen["circuits"] == {own_task_name(plain): str(plain)}
    assert "1 with ablation=zero sweep=none, 1 with target_loss=0.5 sweep=none" in seen["rule"]
    page = read_sealed(run.path, "report.html").decode()
    assert "(loss at most 0.15)" in page and "held at its average over held-out code" in page
    for where, circuit, said in (
        (["target_loss=0.5"], loose, "(loss at most 0.5)"),
        (["ablation=zero", "seed=1"], zeros, "every other channel is set to zero"),
    ):
        seen = report_run(run.path, where=where)
        page = read_sealed(run.path, "report.html").decode()
        assert seen["circuits"] == {own_task_name(plain): str(circuit)}
        assert said in page and f"--where {' '.join(where)}" in page and where[0] in seen["rule"]
        assert "(loss at most 0.15) when every other channel is held" not in page
    with pytest.raises(UserError, match="no circuit here has seed=7"):
        report_run(run.path, where=["seed=7"])


def own_task_name(directory: Path) -> str:
    return load_circuit(directory).circuit.task


def test_a_run_without_circuits_says_how_to_find_some(tiny_path: Path) -> None:
    with pytest.raises(UserError, match="holds no circuits; find some with: thinwire prune"):
        report_run(tiny_path)
    assert not (tiny_path / "report.html").exists()
