"""Same seed, machine and number of threads: the same checkpoint, byte for byte, and nothing else depends on luck."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from thinwire.data.config import DataConfig
from thinwire.model.config import ModelConfig
from thinwire.training.config import RunConfig, TrainConfig
from thinwire.training.config_file import to_yaml
from thinwire.workflows.train import train


@pytest.fixture(scope="module")
def config(small_corpus: Path) -> RunConfig:
    return RunConfig(
        data=DataConfig(source=str(small_corpus), heldout_frac=0.3),
        model=ModelConfig(vocab_size=288, context=16, n_layer=1, d_model=32),
        train=TrainConfig(n_tokens=8 * 8 * 16, batch_size=8, density=0.2, checkpoint_every_steps=6),
        threads=1,
    )


def checkpoints(run: Path) -> dict[str, bytes]:
    root = run / "checkpoints"
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert len(found) == 2 * 4  # steps 6 and 8: weights, moments, state and manifest
    return found


def other_process(config: RunConfig, out: Path, **env: str) -> Path:
    """The same training by the command line, in a process that hashes strings otherwise."""
    file = out.with_suffix(".yaml")
    file.write_text(to_yaml(config))
    command = [sys.executable, "-m", "thinwire", "train", "--config", str(file), "--out", str(out), "--json"]
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr  # 1: of so few steps it has learned nothing
    assert (out / "final.json").exists(), done.stderr
    return out


def test_two_processes_write_the_same_checkpoints(config: RunConfig, tmp_path: Path) -> None:
    train(config, tmp_path / "here")
    there = other_process(config, tmp_path / "there", PYTHONHASHSEED="7")
    assert checkpoints(tmp_path / "here") == checkpoints(there)


def test_another_seed_gives_another_checkpoint(config: RunConfig, tmp_path: Path) -> None:
    train(config, tmp_path / "a")
    train(replace(config, train=replace(config.train, seed=1)), tmp_path / "b")
    a, b = checkpoints(tmp_path / "a"), checkpoints(tmp_path / "b")
    name = "step-00000008/model.safetensors"
    assert a[name] != b[name] and len(a[name]) == len(b[name])


@pytest.mark.slow
def test_two_threads_write_the_same_checkpoints_every_time(config: RunConfig, tmp_path: Path) -> None:
    """Wide enough that torch and the kernels share the work out."""
    wide = replace(config, model=replace(config.model, d_model=128, n_layer=2), threads=2)
    free = {"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}
    first, second = (checkpoints(other_process(wide, tmp_path / name, **free)) for name in ("a", "b"))
    assert first == second
