"""metrics.jsonl: one JSON object for each step, appended as training goes; cut back to a checkpoint on resume.

Everything in a row but its times is a pure function of the run's settings, so its checksum leaves the times out:
two runs of the same settings have equal checkpoints, byte for byte.
"""

import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from thinwire.errors import CorruptFile, UserError
from thinwire.storage.files import sha256

WALL_TIME = "seconds"
CLOCKED = (WALL_TIME, "seconds_saved")
"""The keys of a row that the clock decides."""


class MetricsLog:
    """Appends rows and keeps a running checksum, so that checkpoints can vouch for what came before them."""

    def __init__(self, path: Path, n_rows: int = 0, checksum: str = sha256(b"")) -> None:
        """Open `path` and cut it back to its first `n_rows` rows.

        Raises `CorruptFile` when these rows are not the ones that `checksum` promises, `UserError` when another
        process is writing the file.
        """
        self._file = open(path, "a+b")  # noqa: SIM115 - closed by close()
        try:
            _lock(self._file.fileno(), path)
            lines, self.rows = _read_rows(self._file, path, n_rows)
            self._digest = hashlib.sha256(b"".join(map(_content, self.rows)))
            if len(self.rows) != n_rows or self.checksum != checksum:
                raise CorruptFile(
                    f"{path} was altered before its last checkpoint; restore it, or train into a new directory"
                )
        except UserError:
            self._file.close()
            raise
        self._file.truncate(sum(map(len, lines)))

    def append(self, row: dict[str, Any]) -> None:
        self._file.write((json.dumps(row, allow_nan=False) + "\n").encode())
        self._file.flush()
        self._digest.update(_content(row))
        self.rows.append(row)

    @property
    def checksum(self) -> str:
        return self._digest.hexdigest()

    def sync(self) -> None:
        """Have everything on the disk, before a checkpoint vouches for it."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self.sync()
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of a metrics.jsonl; a torn last line is left out. Raises `CorruptFile` when another line is damaged."""
    if not path.exists():
        return []
    with open(path, "rb") as file:
        return _read_rows(file, path)[1]


def _read_rows(file: Any, path: Path, n_rows: int | None = None) -> tuple[list[bytes], list[dict[str, Any]]]:
    """The first `n_rows` whole lines (all of them for None) and what they hold."""
    file.seek(0)
    lines = [line for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")][:n_rows]
    try:
        return lines, [json.loads(line) for line in lines]
    except ValueError:
        raise CorruptFile(f"{path} holds a damaged line; restore it, or train into a new directory") from None


def _content(row: dict[str, Any]) -> bytes:
    return (json.dumps({key: value for key, value in row.items() if key not in CLOCKED}) + "\n").encode()


def _lock(descriptor: int, path: Path) -> None:
    """Held until the file is closed or the process ends, however it ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{path.parent} is being trained by another process; wait for it, or end it first") from None
