"""A family from trainings to ratios and figures, in a world of seconds."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_world import SOLVED, quick, tiny_config

from thinwire.cli.main import main
from thinwire.errors import UserError
from thinwire.storage.files import read_sealed
from thinwire.training.families import FAMILIES, Member, family
from thinwire.workflows.frontier import Frontier, frontier, plan


@pytest.fixture(scope="module")
def members(tiny_corpus: Path) -> list[Member]:
    """Two dense models around a sparse one; the wide one is trained longest, so that it has the lowest loss."""
    dense = [tiny_config(tiny_corpus, d_model=d, density=1.0, steps=n) for d, n in ((32, 60), (64, 150))]
    return [Member(f"d{config.model.d_model}", config) for config in dense]


@pytest.fixture(scope="module")
def small_tasks() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thinwire.tasks.family.SIZES", {"train": 48, "validation": 24, "test": 24})
        yield


@pytest.fixture(scope="module")
def sparse(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sparse model that is trained already, to write circuits into."""
    return shutil.copytree(tiny_path, tmp_path_factory.mktemp("reused") / "sparse")


@pytest.fixture(scope="module")
def found(small_tasks: None, members: list[Member], sparse: Path, tmp_path_factory: pytest.TempPathFactory) -> Frontier:
    out = tmp_path_factory.mktemp("frontier") / "out"
    return frontier(out, members, reuse=[sparse], tasks=[SOLVED], config=quick(sweep="nodes"))


def test_models_circuits_and_ratios_are_there(found: Frontier, sparse: Path) -> None:
    assert {model.name: model.kind for model in found.models} == {"d32": "dense", "d64": "dense", "sparse": "sparse"}
    assert {one.requirement for one in found.circuits} == {"sufficient"}
    assert {one.task for one in found.circuits if one.model == "sparse"} >= {SOLVED}
    assert {(one.requirement, one.counted) for one in found.ratios} == {
        *(("sufficient", counted) for counted in ("n_edges_unswept", "n_edges"))
    }
    for one in found.ratios:  # every task that the sparse model does either enters, or is named with the reason
        tasks = {row.task for row in one.tasks}
        assert tasks | set(one.left_out) == {c.task for c in found.circuits if c.model == "sparse"}
        assert not tasks & set(one.left_out)


def test_the_numbers_are_those_of_the_circuits_on_disk(found: Frontier, sparse: Path) -> None:
    for path in sparse.glob("circuits/*/*/*/circuit.json"):
        values = json.loads(path.read_text())
        (point,) = [c for c in found.circuits if (c.model, c.task) == ("sparse", values["task"])]
        assert point.cell.n_edges in (len(values["edges"]), None)
        assert point.cell.model_loss == values["model_scores"]["test"]["loss"]


def test_it_is_stored_and_a_second_call_does_nothing_anew(
    found: Frontier, members: list[Member], sparse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(found.figures[0]).parent if found.figures else None
    assert out is not None, "the tiny world gave nothing to draw"
    stored = json.loads(read_sealed(out, "frontier.json"))
    assert [row["name"] for row in stored["models"]] == [model.name for model in found.models]
    figures = {path: Path(path).read_bytes() for path in found.figures}
    monkeypatch.setattr("thinwire.workflows.prune.prune_model", None)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("checkpoints/*/model.safetensors")}
    again = frontier(out, members, reuse=[sparse], tasks=[SOLVED], config=quick(sweep="nodes"))
    assert again == found
    assert len(stamps) == len(members)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps, "trained again"
    assert {path: Path(path).read_bytes() for path in again.figures} == figures


def test_models_that_cannot_be_compared_are_refused(
    found: Frontier, members: list[Member], sparse: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no models to compare; name a family, or runs with --reuse"):
        frontier(tmp_path / "out")
    with pytest.raises(UserError, match="two models are called sparse"):
        frontier(tmp_path / "out", reuse=[sparse, sparse])
    out = Path(found.figures[0]).parent
    other = replace(members[0], config=replace(members[0].config, train=replace(members[0].config.train, seed=5)))
    with pytest.raises(UserError, match="d32 was made with other settings than the family's"):
        frontier(out, [other])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(UserError, match="full holds something else than a frontier"):
        frontier(tmp_path / "full", members)


def test_the_families_can_be_trained() -> None:
    """Every config holds what it promises (at least 4 dense widths, 8 sparse models, three seeds for two of them)."""
    members = family("frontier-cpu")
    names = [member.name for member in members]
    assert len(set(names)) == len(names)
    dense = {m.config.model.d_model for m in members if m.config.train.density == 1}
    sparse = {(m.config.model.d_model, m.config.train.density) for m in members if m.config.train.density < 1}
    assert len(dense) >= 4 and len(sparse) >= 8
    assert min(density for _, density in sparse) == 1 / 1000 and max(density for _, density in sparse) == 1 / 4
    assert sum(name.startswith("d48-dense") and "topk" not in name for name in names) == 3
    assert sum(name.startswith("d384-1in16") and "topk" not in name for name in names) == 3
    assert len({(m.config.data, m.config.train.n_tokens, m.config.model.vocab_size) for m in members}) == 1
    with pytest.raises(UserError, match="unknown family 'x'; there are: frontier-cpu"):
        family("x")
    assert set(FAMILIES) == {"frontier-cpu"}


def test_a_plan_starts_nothing(members: list[Member]) -> None:
    found = plan(members, timed=False)
    assert [row.name for row in found.members] == ["d32", "d64"]
    assert found.seconds is None and all(row.memory_bytes > row.parameters for row in found.members)


def test_the_verb(found: Frontier, sparse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--task", SOLVED, "--steps=30", "--batch_pairs=16", "--learning_rate=0.06", "--means_tokens=2048"]
    assert main(["frontier", "--reuse", str(sparse), "--out", str(tmp_path / "out"), *words]) == 0
    said = capsys.readouterr().out
    assert "no dense model of a loss as low as sparse's does it" in " ".join(said.split())
    assert main(["frontier", "--reuse", str(sparse)]) == 2
    assert "name a directory with --out" in capsys.readouterr().err
