"""Jobs: all done once in the end, whoever is killed on the way."""

import os
import signal
from pathlib import Path

import pytest

from thinwire.runs.jobs import RayExecutor, WorkerLost, local_pool, run_jobs


def square(number: int, directory: str) -> int:
    Path(directory, str(number)).write_text(str(number**2))
    return number**2


def die_once(number: int, directory: str) -> int:
    """Its first worker is killed in the middle of job 1."""
    mark = Path(directory, "died")
    if number == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number, directory)


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(number: int) -> None:
    raise ValueError(f"job {number} is wrong")


def check(executor, tmp_path: Path) -> None:
    results = run_jobs(executor, die_once, [(i, str(tmp_path)) for i in range(4)])
    assert results == [0, 1, 4, 9]
    assert (tmp_path / "died").exists()
    assert [(tmp_path / str(i)).read_text() for i in range(4)] == ["0", "1", "4", "9"]


@pytest.mark.slow
def test_a_killed_workers_job_is_run_again(tmp_path: Path) -> None:
    with local_pool(2) as executor:
        check(executor, tmp_path)


@pytest.mark.slow
def test_a_job_that_always_kills_its_worker_is_an_error() -> None:
    with local_pool(1) as executor, pytest.raises(WorkerLost, match="3 times"):
        run_jobs(executor, die, [(0,)])


@pytest.mark.slow
def test_a_jobs_own_error_is_raised_as_it_is() -> None:
    with local_pool(1) as executor, pytest.raises(ValueError, match="job 0 is wrong"):
        run_jobs(executor, fail, [(0,)])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_on_ray_too(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    here = {"env_vars": {"PYTHONPATH": str(Path(__file__).parents[1])}}
    with RayExecutor(num_cpus=2, runtime_env=here) as executor:
        check(executor, tmp_path)
