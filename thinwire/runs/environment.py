"""What a run was made with: versions, commit, machine. Stored in a run directory's `env.json`."""

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from thinwire.storage.records import Count, Seed, Threads
from thinwire.version import __version__

PACKAGES = ("torch", "numpy", "numba", "tokenizers", "safetensors")
Label = Annotated[str, Meta(max_length=200)]
Commit = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?(-modified)?\Z")]


@dataclass(frozen=True)
class Machine:
    """What a computation ran on."""

    platform: Label
    cpu: Label
    cores: Count
    """Usable by this process."""
    memory_bytes: Count | None
    """None where the platform does not tell."""


@dataclass(frozen=True)
class Environment:
    """The content of `env.json`; nothing in it depends on the clock."""

    versions: dict[Label, Label]
    commit: Commit | None
    machine: Machine
    seed: Seed
    threads: Threads
    """CPU threads that the computation uses; with the seed and the machine what a byte-for-byte repetition needs."""


def environment(seed: int, threads: int) -> Environment:
    """The environment of this process."""
    return Environment(versions(), commit(Path(__file__).parent.parent.parent), machine(), seed, threads)


def versions() -> dict[str, str]:
    """Versions of Python, thinwire and the packages that numbers depend on; nothing is imported."""
    found = {"python": platform.python_version(), "thinwire": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def commit(checkout: Path) -> str | None:
    """Commit of a git checkout's root, with "-modified" if tracked files differ from it; None if it is no such root."""
    top = _git(checkout, "rev-parse", "--show-toplevel")
    head = _git(checkout, "rev-parse", "--verify", "--quiet", "HEAD")
    if not top or not head or Path(top).resolve() != checkout.resolve():
        return None
    modified = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    return f"{head}-modified" if modified else head


def _git(directory: Path, *arguments: str) -> str | None:
    """Output of a git command; None when git is absent or refuses."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(directory), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def machine() -> Machine:
    """This machine."""
    return Machine(platform.platform(), _cpu_model(), usable_cores(), memory_bytes())


def usable_cores() -> int:
    """Number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Physical memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
