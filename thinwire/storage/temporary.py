"""Temporary names beside the place that is written, and what killed writers left of them.

A writer holds a lock on its temporary file or directory until it ends, however it ends. So whoever writes the same
place later can tell what a dead one left, which it removes, from what a living one is writing, which it leaves alone.
Where locks do not work (some network file systems) nothing is removed.
"""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def temporary_file(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file beside `path`, open for writing, and its name; gone when the block ends, unless it was renamed."""
    remove_leftovers(path)
    while True:
        temporary = _name_beside(path)
        with open(temporary, "xb") as file:
            if not _locked(file.fileno(), temporary):
                continue
            try:
                yield file, temporary
            finally:
                temporary.unlink(missing_ok=True)
            return


@contextmanager
def temporary_directory(path: Path) -> Iterator[Path]:
    """A new directory beside `path`; gone when the block ends, unless it was renamed."""
    remove_leftovers(path)
    while True:
        temporary = _name_beside(path)
        temporary.mkdir()
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            if not _locked(descriptor, temporary):
                continue
            try:
                yield temporary
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            return
        finally:
            os.close(descriptor)


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of `path` left beside it."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-z_]+\.tmp")
    with suppress(FileNotFoundError, NotADirectoryError):
        for leftover in [Path(entry.path) for entry in os.scandir(path.parent) if pattern.fullmatch(entry.name)]:
            with suppress(OSError):  # gone by now, or being written
                _remove_unlocked(leftover)


def _name_beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _locked(descriptor: int, temporary: Path) -> bool:
    """Take the lock; False when another process took the new name for a leftover and removed it first."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return temporary.exists()


def _remove_unlocked(leftover: Path) -> None:
    descriptor = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink()
    finally:
        os.close(descriptor)
