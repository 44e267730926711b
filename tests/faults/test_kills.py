"""Pruning and verification that are killed at random moments go on to the bytes that undisturbed ones give.

For training see training/test_resume.py.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

N = 15


def files(run: Path) -> dict[str, bytes]:
    """What pruning and verification leave in a run."""
    return {
        str(path.relative_to(run)): path.read_bytes()
        for folder in ("circuits", "means")
        for path in sorted((run / folder).rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [0, 1])
def test_killed_prunings_and_verifications_end_with_the_same_bytes(
    tiny_path: Path, own_task: str, tmp_path: Path, seed: int
) -> None:
    program = [sys.executable, str(Path(__file__).parents[1] / "killed_verbs.py")]
    one_thread = {"NUMBA_NUM_THREADS": "1", "NUMBA_THREADING_LAYER": "workqueue", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*program, str(tiny_path), own_task, str(tmp_path), str(seed), str(N)],
        env=os.environ | one_thread | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) >= N  # so many were killed
    whole = files(tmp_path / "whole")
    assert any(name.endswith("verify.json") for name in whole)
    for i in range(N):
        found = files(tmp_path / str(i))
        assert found.keys() == whole.keys(), i  # nothing temporary is left either
        assert found == whole, i
