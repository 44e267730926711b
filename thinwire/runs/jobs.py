"""Jobs that run beside each other, here or on many machines: any `concurrent.futures.Executor` will do.

A job is a function with arguments that stores its own result in a place of its own, and that changes nothing when it is
done twice. So a job whose worker was killed is simply run again: nothing is lost, nothing counts twice.
"""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from thinwire.errors import MissingExtra
from thinwire.progress import Progress, silent

ATTEMPTS = 3
"""Times that a job is given to a worker before its loss is an error."""


class WorkerLost(RuntimeError):
    """A worker went away in the middle of a job."""


class LocalPool(Executor):
    """A process pool that replaces itself when a worker is killed; one torch thread per worker."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        context = get_context("spawn")  # a forked child would share the parent's threads' locks
        return ProcessPoolExecutor(self.workers, mp_context=context, initializer=_one_thread)

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        try:
            return self.pool.submit(fn, *args, **kwargs)
        except BrokenProcessPool:
            self.pool = self._new()
            return self.pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.pool.shutdown(wait, cancel_futures=cancel_futures)


def _one_thread() -> None:
    """Workers share the cores by being many."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


def local_pool(workers: int) -> Executor:
    """Processes on this machine."""
    return LocalPool(workers)


class RayExecutor(Executor):
    """Jobs as Ray tasks; needs the extra [cluster] and a run directory that every machine sees."""

    def __init__(self, address: str | None = None, **options: Any) -> None:
        try:
            import ray
        except ImportError:
            raise MissingExtra("a cluster needs Ray", "cluster", "ray") from None
        self.ray = ray
        self.own = not ray.is_initialized()
        if self.own:
            ray.init(address=address, logging_level=logging.ERROR, include_dashboard=False, **options)

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        task = self.ray.remote(max_retries=0)(fn)
        return task.remote(*args, **kwargs).future()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if self.own:
            self.ray.shutdown()


def run_jobs(
    executor: Executor, function: Callable, jobs: Sequence[tuple], title: str = "jobs", progress: Progress = silent
) -> list[Any]:
    """`function(*job)` for every job, in the order of `jobs`. A job whose worker was lost is given out again.

    Raises what a job raises, and `WorkerLost` when a job lost its worker `ATTEMPTS` times.
    """
    results: dict[int, Any] = {}
    attempts = dict.fromkeys(range(len(jobs)), 0)
    with progress(title, total=len(jobs), unit="job") as advance:
        while missing := [i for i in range(len(jobs)) if i not in results]:
            futures = {}
            for i in missing:
                attempts[i] += 1
                futures[executor.submit(function, *jobs[i])] = i
            for future in as_completed(futures):
                i, error = futures[future], future.exception()
                if error is None:
                    results[i] = future.result()
                    advance(1)
                elif not _is_loss(error):
                    raise error
                elif attempts[i] == ATTEMPTS:
                    raise WorkerLost(f"the worker of job {jobs[i]} was lost {ATTEMPTS} times") from error
    return [results[i] for i in range(len(jobs))]


def _is_loss(error: BaseException) -> bool:
    """Whether an error says that the worker went away, not that the job failed."""
    return isinstance(error, BrokenProcessPool) or type(error).__name__ in ("WorkerCrashedError", "NodeDiedError")
