"""Weights of steps on the way stay where `keep_every_steps` asks for them, and are models like any other."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_world import quick, tiny_config

import thinwire
from thinwire.circuits.overlap import jaccard
from thinwire.cli.main import main
from thinwire.errors import MissingFile
from thinwire.runs.run import load_run
from thinwire.storage.tensors import read_tensors
from thinwire.training.checkpoint import kept_steps
from thinwire.workflows.prune import prune
from thinwire.workflows.train import train

QUICK = ["--steps=2", "--batch_pairs=4", "--means_tokens=256", "--sweep=none"]


@pytest.fixture(scope="module")
def kept(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ten steps that keeps the weights of every third."""
    out = tmp_path_factory.mktemp("kept") / "run"
    config = tiny_config(tiny_corpus, d_model=32, steps=10)
    train(replace(config, train=replace(config.train, keep_every_steps=3, checkpoint_every_steps=5)), out)
    return out


def test_every_third_step_is_kept_and_the_last_is_the_run(kept: Path) -> None:
    assert kept_steps(kept) == [3, 6, 9]
    prints = {step: thinwire.load(kept, step=step).fingerprint for step in (3, 6, 9)}
    assert len({*prints.values(), thinwire.load(kept).fingerprint}) == 4
    assert thinwire.load(kept / "steps" / "00000006").fingerprint == prints[6]
    names = [path.name for path in sorted((kept / "checkpoints").iterdir())]
    assert names == ["step-00000009", "step-00000010"]  # the last two, as ever
    weights = read_tensors(kept / "checkpoints" / "step-00000009", "model.safetensors")
    assert all(torch.equal(weights[n], p) for n, p in load_run(kept, step=9).model.state_dict().items())


def test_a_step_that_was_not_kept_names_those_that_were(kept: Path, tiny_path: Path) -> None:
    with pytest.raises(MissingFile, match="keeps no weights of step 4; there are: 3, 6, 9; without a step the last"):
        thinwire.load(kept, step=4)
    with pytest.raises(MissingFile, match="keeps no weights of step 4; train with --train.keep_every_steps N to keep"):
        thinwire.load(tiny_path, step=4)


def test_circuits_of_a_step_lie_apart_and_other_verbs_find_them(
    kept: Path, own_task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(kept, tmp_path / "run")
    assert main(["prune", str(run), own_task, "--step=6", "--json", *QUICK]) == 0
    (found,) = thinwire.load(run, step=6).circuit_directories()
    assert found.is_relative_to(run / "steps" / "00000006" / "circuits" / "own")
    assert not list(thinwire.load(run).circuit_directories())
    assert main(["eval", str(run / "steps" / "00000006"), "--circuits", "--json"]) == 0
    assert '"task": "own"' in capsys.readouterr().out


def test_python_prunes_a_kept_step(kept: Path, own_task: str, tmp_path: Path) -> None:
    run = load_run(shutil.copytree(kept, tmp_path / "run"), step=3)
    circuit = prune(run, own_task, quick(steps=2, sweep="none"))
    assert circuit.model_fingerprint == run.fingerprint
    assert circuit.directory is not None and circuit.directory.is_relative_to(run.home)


def test_a_figure_shows_how_a_circuit_came_about(
    kept: Path, own_task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    path = shutil.copytree(kept, tmp_path / "run")
    run, then = load_run(path), load_run(path, step=6)
    last, before = (prune(one, own_task, quick(steps=2, sweep="none")) for one in (run, then))
    assert main(["plot", str(path), "--over_training", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    (name,) = result["figures"]
    assert Path(name).name.startswith("forming-own-") and "nodes shared with the last" in Path(name).read_text()
    (found,) = result["forming"]
    assert [moment["step"] for moment in found["moments"]] == [3, 6, 9, 10]
    assert [moment["tokens"] for moment in found["moments"]] == [512 * step for step in (3, 6, 9, 10)]
    assert [moment["circuit"] is not None for moment in found["moments"]] == [False, True, False, True]
    drawn = found["moments"][1]
    assert drawn["circuit"]["overlap"] == pytest.approx(jaccard(before.nodes, last.nodes))
    assert drawn["circuit"]["n_edges"] == before.n_edges
    assert drawn["model_loss"] == pytest.approx(before.model_scores["test"].loss, abs=1e-5)
    assert found["moments"][3]["circuit"]["overlap"] == 1


def test_without_kept_steps_there_is_nothing_to_draw(pruned_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert main(["plot", str(pruned_path), "--over_training"]) == 2
    assert "keeps no weights of earlier steps; train with --train.keep_every_steps" in capsys.readouterr().err


@pytest.mark.usefixtures("brief_pages")
def test_pages_show_the_circuits_and_the_history_of_a_step(kept: Path, own_task: str, tmp_path: Path) -> None:
    step = shutil.copytree(kept, tmp_path / "run") / "steps" / "00000006"
    assert main(["prune", str(step), own_task, *QUICK]) == 0
    assert main(["view", str(step)]) == 0
    assert "run@6/own/" in (step / "view.html").read_text(encoding="utf-8")
    assert main(["report", str(step)]) == 0
    page = (step / "report.html").read_text(encoding="utf-8")
    (model,) = json.loads(page.split('id="report-data">')[1].split("</script>")[0])["models"].values()
    assert model["curve"][-1]["step"] == 6
    assert model["density"] == load_run(step).density


def test_the_metrics_of_a_step_end_there(kept: Path) -> None:
    whole = load_run(kept).metrics
    assert [row.step for row in whole] == list(range(1, 11))
    assert load_run(kept, step=6).metrics == whole[:6]
