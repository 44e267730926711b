"""`thinwire doctor`: can this machine run the package, and if not, what would help?

One function for each check; it measures something here and now, and reports trouble instead of raising it.
"""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

from thinwire.errors import reinstall_command
from thinwire.runs.environment import PACKAGES, memory_bytes, usable_cores

GIB = 1 << 30
REINSTALL = f"set the environment up again: {reinstall_command(' '.join(PACKAGES))}"


@dataclass(frozen=True)
class Check:
    """Outcome of one check; `remedy` is empty when `status` is ok."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Checkup:
    """What `thinwire doctor` prints."""

    checks: tuple[Check, ...]
    ok: bool
    """Whether none failed."""


def doctor() -> Checkup:
    """Runs the checks; where one of the first fails, no others."""
    checks = [check() for check in FIRST_CHECKS]
    if _none_failed(checks):
        checks += [check() for check in CHECKS]
    return Checkup(tuple(checks), _none_failed(checks))


def _none_failed(checks: Sequence[Check]) -> bool:
    return all(check.status != "fail" for check in checks)


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Check:
    """Is the interpreter new enough? Default: the running one."""
    detail = ".".join(map(str, version))
    if version < (3, 11):
        return Check("python", "fail", detail, "thinwire needs Python 3.11 or newer: make test PYTHON=python3.12")
    return Check("python", "ok", detail)


def check_packages(names: Sequence[str] = PACKAGES) -> Check:
    """Can the compiled packages be loaded? The checks that use them run only if they can."""
    try:
        found = [f"{name} {import_module(name).__version__}" for name in names]
    except (ImportError, OSError) as error:
        return Check("packages", "fail", str(error), REINSTALL)
    return Check("packages", "ok", ", ".join(found))


def check_numba() -> Check:
    """Does numba compile a kernel here, and does the kernel compute what Python computes?"""
    import numba
    from numba.core.errors import NumbaError

    kernel = lambda x: 3 * x + 1  # noqa: E731 - a lambda, since the tests' type checks wrap every def
    try:
        found = numba.njit(kernel)(5)
    except (OSError, RuntimeError, NumbaError) as error:
        return Check("numba", "fail", f"no kernel can be compiled: {error}", REINSTALL)
    if found != kernel(5):
        return Check("numba", "fail", f"a compiled kernel gives {found} instead of {kernel(5)}", REINSTALL)
    return Check("numba", "ok", "compiles")


def check_kernels(places: Sequence[Path] | None = None) -> Check:
    """Can compiled kernels be kept, and are those that are there whole? Default: where this process keeps them."""
    from thinwire.kernels.compiled import folders, is_whole, is_writable

    places = list(folders() if places is None else places)
    folder = next((place for place in places if is_writable(place)), None)
    if folder is None:
        return Check(
            "kernels",
            "warn",
            f"cannot be kept: none of {', '.join(map(str, places))} can be written; every process compiles them anew",
            "name a writable directory: export THINWIRE_CACHE=DIR",
        )
    files = sorted(folder.glob("*.nbc"))
    damaged = [file for file in files if not is_whole(file)]
    if damaged:
        detail = f"{len(damaged)} of {len(files)} compiled kernels in {folder} are damaged"
        return Check("kernels", "warn", detail, f"they are compiled anew when they are used; or remove {folder}")
    return Check("kernels", "ok", f"{len(files)} compiled and kept in {folder}")


def check_threads(threads: int | None = None, cores: int | None = None) -> Check:
    """Do the CPU threads fit the cores that this process may use? Defaults: torch's threads, this machine's cores."""
    if threads is None:
        import torch

        threads = torch.get_num_threads()
    cores = cores or usable_cores()
    detail = f"{threads} threads on {cores} usable cores"
    if threads > cores:
        return Check(
            "threads", "warn", detail, f"more threads than cores slow training: export OMP_NUM_THREADS={cores}"
        )
    return Check("threads", "ok", detail)


def check_memory(available: int | None = None) -> Check:
    """Is there the memory that the demo needs (4 GB)? Default: this machine's, in bytes."""
    available = available or memory_bytes()
    if available is None:
        return Check("memory", "warn", "unknown on this platform", "the demo needs 4 GB")
    detail = f"{available / GIB:.1f} GiB"
    if available < 4e9:
        return Check(
            "memory", "warn", detail, "the demo needs 4 GB: close programs, or train with a smaller --model.d_model"
        )
    return Check("memory", "ok", detail)


def check_disk(directory: Path = Path(), free: int | None = None) -> Check:
    """Is there room for runs under `directory`? `free` in bytes; default: measured."""
    free = shutil.disk_usage(directory).free if free is None else free
    detail = f"{free / GIB:.1f} GiB free in {directory.resolve()}"
    if free < 1 * GIB:
        return Check("disk", "fail", detail, "a run needs up to 1 GiB: free space or choose another --out")
    if free < 5 * GIB:
        return Check("disk", "warn", detail, "room for few runs: free space or choose another --out")
    return Check("disk", "ok", detail)


def check_cache(directory: Path | None = None) -> Check:
    """Can the cache of tokenizers and token shards be written?"""
    if directory is None:
        from thinwire.data.shards import default_cache

        directory = default_cache()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"thinwire")
    except OSError as error:
        return Check(
            "cache", "fail", f"{directory}: {error.strerror}", "name a writable directory: export THINWIRE_CACHE=DIR"
        )
    return Check("cache", "ok", f"{directory} is writable")


def check_device() -> Check:
    """Which accelerators can --device name?"""
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found.append(f"cuda ({torch.cuda.get_device_name(0)})")
    if torch.backends.mps.is_available():
        found.append("mps")
    return Check("device", "ok", ", ".join(found))


def check_repeatable() -> Check:
    """Does the same matrix product give the same bytes twice? Seeds are worth nothing otherwise."""
    import torch

    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(384, 384, generator=generator) for _ in range(2))
    if not torch.equal(left @ right, left @ right):
        remedy = "the same seed will not give the same run: export OMP_NUM_THREADS=1"
        return Check("repeatable", "warn", "a matrix product differs between two calls", remedy)
    return Check("repeatable", "ok", "a matrix product gives the same bytes twice")


FIRST_CHECKS = (check_python, check_packages)
CHECKS = (
    check_numba,
    check_kernels,
    check_threads,
    check_memory,
    check_disk,
    check_cache,
    check_device,
    check_repeatable,
)
