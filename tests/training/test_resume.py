"""A run that was killed at any moment goes on to the bytes that an uninterrupted run gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_world import write_small_corpus

from thinwire.runs.run import load_run
from thinwire.training.metrics import CLOCKED

MOMENTS = [
    "replace3",  # the run directory is half made
    "row1",  # it is made, nothing more
    "row7",  # a line of metrics.jsonl is torn, with a checkpoint before it
    "tensors4",  # weights are written, moments half, in a second checkpoint
    "replace13",  # the first checkpoint is whole but for its name
    "removal1",  # an old checkpoint is half removed
    "replace9+row12+row2",  # three times in the same run
]
IN_MODES = ["row8", "row13+row1", "row17", "tensors6"]  # before and after moments are stored by entry
EVERYWHERE = [*(f"replace{n}" for n in range(1, 29)), *(f"row{n}" for n in (5, 6, 10, 11, 20)), "removal2", "tensors8"]
AT_RANDOM = [f"ms{n}" for n in (20, 60, 110, 150, 210, 260, 330, 400)]


def train_killed(folder: Path, moments: list[str], options: tuple[str, ...] = ()) -> Path:
    """Folder of one whole run and, for each moment, one that was killed and resumed."""
    corpus = write_small_corpus(folder / "corpus")
    program = [sys.executable, str(Path(__file__).parents[1] / "killed_training.py")]
    one_thread = {"NUMBA_NUM_THREADS": "1", "NUMBA_THREADING_LAYER": "workqueue"}  # which may be forked
    done = subprocess.run(
        [*program, str(corpus), str(folder), ",".join(moments), *options],
        env=os.environ | one_thread,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def files(run: Path) -> dict[str, bytes]:
    """Everything in a run directory but its clock, and the commit, which may change while tests run."""
    found = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    del found["env.json"], found["manifest.json"]
    rows = [json.loads(line) for line in found.pop("metrics.jsonl").splitlines()]
    found["metrics"] = json.dumps([{k: v for k, v in row.items() if k not in CLOCKED} for row in rows]).encode()
    return found


def assert_same(folder: Path, moments: list[str]) -> None:
    whole = files(folder / "whole")
    assert "checkpoints/step-00000020/optimizer.safetensors" in whole
    for moment in moments:
        assert files(folder / moment) == whole, moment


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_killed(tmp_path_factory.mktemp("killed"), MOMENTS)


def test_a_killed_run_resumes_to_the_same_bytes(runs: Path) -> None:
    assert_same(runs, MOMENTS)


def test_metrics_count_every_step_once_and_time_goes_on(runs: Path) -> None:
    rows = load_run(runs / "replace9+row12+row2").metrics
    assert [row.step for row in rows] == list(range(1, 21))
    seconds = [row.seconds for row in rows]
    assert seconds == sorted(seconds)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["certified", "regrow"])
def test_a_run_that_follows_the_nonzeros_resumes_to_the_same_bytes(tmp_path: Path, mode: str) -> None:
    """Moments are stored by entry from about step 9 on; full steps of `regrow` are 12, 15 and 18, counted from 0."""
    train_killed(tmp_path, IN_MODES, (f"--train.mode={mode}", "--train.regrow_every_steps=3"))
    assert_same(tmp_path, IN_MODES)
    rows = load_run(tmp_path / IN_MODES[0]).metrics
    assert any((row.spared_rows or 0) > 0 for row in rows) or mode == "certified"
    assert all(row.exchanges is not None for row in rows[10:])


@pytest.mark.slow
def test_a_run_killed_anywhere_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    moments = [*EVERYWHERE, *AT_RANDOM]
    assert_same(train_killed(tmp_path, moments), moments)
