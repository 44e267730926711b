"""A run directory appears whole, gives back what it was made from and refuses what was altered."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from thinwire.data.config import DataConfig
from thinwire.data.shards import PreparedData, prepare
from thinwire.errors import CorruptFile, MissingFile, UserError
from thinwire.model.config import ModelConfig
from thinwire.runs.device import pick_device
from thinwire.runs.run import create_run, load, load_run, open_run
from thinwire.storage.files import add_sealed, read_sealed, seal
from thinwire.training.checkpoint import latest_checkpoint
from thinwire.training.config import RunConfig, TrainConfig
from thinwire.training.threads import use_threads
from thinwire.workflows.train import resolve, train


@pytest.fixture(scope="module")
def config(small_corpus: Path) -> RunConfig:
    return RunConfig(
        data=DataConfig(source=str(small_corpus), heldout_frac=0.3),
        model=ModelConfig(vocab_size=288, context=16, n_layer=1, d_model=32),
        train=TrainConfig(n_tokens=3 * 8 * 16, batch_size=8, density=0.2),
        threads=1,
    )


@pytest.fixture(scope="module")
def data(config: RunConfig) -> PreparedData:
    return prepare(config.data, config.model.vocab_size)


@pytest.fixture(scope="module")
def trained(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    train(config, out)
    return out


def test_a_run_gives_back_what_it_was_made_from(config: RunConfig, data: PreparedData, tmp_path: Path) -> None:
    create_run(tmp_path / "run", config, data)
    run = load_run(tmp_path / "run", "cpu")
    assert run.config == config
    assert run.tokenizer.sha256 == data.tokenizer.sha256
    assert run.corpus == data.corpus_manifest
    assert np.array_equal(run.heldout, data.heldout) and not run.heldout.flags.writeable
    assert (run.environment.seed, run.environment.threads) == (0, 1)
    assert run.metrics == [] and list(run.circuit_directories()) == []
    assert os.listdir(tmp_path) == ["run"]


def test_a_directory_with_something_in_it_is_left_alone(config: RunConfig, data: PreparedData, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(UserError, match="mine is not empty; choose another directory or remove it"):
        create_run(tmp_path / "mine", config, data)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]
    (tmp_path / "empty").mkdir()
    create_run(tmp_path / "empty", config, data)
    assert load_run(tmp_path / "empty").config == config


def test_the_model_is_the_last_checkpoints_and_frozen(trained: Path) -> None:
    run = load_run(trained, "cpu")
    assert not run.model.training and not any(p.requires_grad for p in run.model.parameters())
    again = load_run(trained, "cpu")
    assert run.fingerprint == again.fingerprint and run.model is run.model
    assert run.metrics[-1].step == 3


@pytest.mark.parametrize("name", ["config.yaml", "tokenizer.json", "corpus.json", "heldout.bin", "env.json"])
def test_an_altered_file_is_refused_when_it_is_read(trained: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(trained, tmp_path / "run")
    path = tmp_path / "run" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    def read() -> tuple[object, ...]:
        run = load_run(tmp_path / "run")
        return run.tokenizer, run.corpus, run.heldout, run.environment

    with pytest.raises(CorruptFile, match=f"{name} does not match its checksum; restore it or make it again"):
        read()


def test_reading_a_run_changes_nothing_and_a_verb_takes_its_threads(trained: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        run = load(str(trained), "cpu")
        _ = (run.model, run.fingerprint, run.heldout_loss(), run.tokenizer, run.windows(32), run.density)
        assert torch.get_num_threads() == 3
        assert open_run(trained).threads == torch.get_num_threads() == 1
    finally:
        use_threads(before)


def test_a_demo_is_no_run_and_its_runs_are_named(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text("{}")
    seal(tmp_path, ["demo.json"])
    with pytest.raises(MissingFile, match="holds a demo of two runs; name one of them: .*/sparse or .*/dense"):
        load(tmp_path)


def test_where_no_run_is_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="nowhere holds no run; make one with: thinwire train --out"):
        load_run(tmp_path / "nowhere")


def test_windows_hold_as_many_tokens_as_asked_but_at_least_one_window(trained: Path) -> None:
    run = load_run(trained, "cpu")
    assert run.windows(160).shape == (10, 17)  # 160 targets in windows of 16
    assert run.windows(5).shape == (1, 17)


def test_devices_are_named_and_missing_ones_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="device 'cuda' is not available here; there are: cpu"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "3")  # the fourth process of this machine under torchrun
    assert pick_device("auto") == torch.device("cuda", 3)
    assert pick_device("cpu") == torch.device("cpu")


def test_circuits_are_listed_by_task_settings_and_seed(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    for place in ("b/s1/0", "a/s2/1", "a/s1/0"):
        (tmp_path / "run" / "circuits" / place).mkdir(parents=True)
        (tmp_path / "run" / "circuits" / place / "manifest.json").write_text("{}")
    (tmp_path / "run" / "circuits" / "a" / "s1" / "half-made").mkdir()
    found = [
        str(path.relative_to(tmp_path / "run" / "circuits"))
        for path in load_run(tmp_path / "run").circuit_directories()
    ]
    assert found == ["a/s1/0", "a/s2/1", "b/s1/0"]


def test_a_run_of_an_earlier_version_still_opens(trained: Path, tmp_path: Path) -> None:
    """Keys that came later are in neither its config.yaml nor its state.json."""
    shutil.copytree(trained, tmp_path / "run")
    lines = (tmp_path / "run" / "config.yaml").read_text().splitlines(keepends=True)
    later = ("micro_batches", "spike_factor", "text_field", "subset", "split", "max_documents")
    old = "".join(line for line in lines if not line.strip().startswith(later))
    assert len(old.splitlines()) == len(lines) - len(later)
    add_sealed(tmp_path / "run", "config.yaml", old)
    checkpoint = latest_checkpoint(tmp_path / "run")
    state = json.loads(read_sealed(checkpoint, "state.json"))
    del state["processes"]
    add_sealed(checkpoint, "state.json", json.dumps(state))
    assert load_run(tmp_path / "run", "cpu").fingerprint == load_run(trained, "cpu").fingerprint


def test_threads_are_set_exactly_in_torch() -> None:
    before = torch.get_num_threads()
    try:
        use_threads(3)
        assert torch.get_num_threads() == 3
    finally:
        use_threads(before)


def test_a_config_without_threads_takes_the_cores(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thinwire.workflows.train.usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert resolve(replace(config, threads=0)).threads == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert resolve(replace(config, threads=0)).threads == 2  # 8 cores for 3 processes
    assert resolve(replace(config, threads=5)).threads == 5


def test_the_loss_that_training_ended_with_is_kept_and_an_older_run_measures_it(
    config: RunConfig, tmp_path: Path
) -> None:
    trained = train(config, tmp_path / "run")
    path, told = tmp_path / "run", trained.heldout_loss
    assert json.loads(read_sealed(path, "final.json"))["heldout_loss"] == load_run(path).heldout_loss() == told
    for name, expected in ((trained.fingerprint, 9.0), ("0" * 64, told)):
        add_sealed(path, "final.json", json.dumps({"fingerprint": name, "heldout_loss": 9.0, "heldout_tokens": 1}))
        assert load_run(path).heldout_loss() == expected
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["files"]["final.json"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert load_run(path).heldout_loss() == told
