"""metrics.jsonl: one `StepRow` for each step, appended as training goes; cut back to a checkpoint on resume.

Everything in a row but its times is a pure function of the run's settings, so its checksum leaves the times out:
two runs of the same settings have equal checkpoints, byte for byte.
"""

import fcntl
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thinwire.errors import CorruptFile, UserError
from thinwire.storage.files import read_file, sha256
from thinwire.storage.records import Count, Number, Positive, Ratio, Seconds, Share, convert, parse_json, plain

CLOCKED = ("seconds", "seconds_saved")
"""The fields of a row that the clock decides."""
NO_ROWS = sha256(b"")
"""Checksum of no rows."""


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """What is known of one step of training."""

    step: Positive
    """Steps done."""
    tokens: Positive
    """Tokens seen so far."""
    loss: Ratio
    """Of the step's batch, nats per token."""
    density: Share
    learning_rate: Ratio
    grad_rms: Ratio
    """Before normalisation."""
    spared_rows: Share | None = None
    """Modes other than exact: share of rows (columns of the matrices out of values and neurons) of which nonzero
    weights alone were computed."""
    exchanges: Count | None = None
    """... weights that came back; on steps that follow the nonzeros."""
    norm_error: Number | None = None
    """... relative error of the estimated gradient norm, where the true one is known."""
    seconds_saved: Seconds | None = None
    """... that the spared gradients of zeroed weights would have cost, of all steps so far."""
    heldout_loss: Ratio | None = None
    """Nats per token; on the steps where it was measured."""
    seconds: Seconds = 0.0
    """Wall time so far."""


class MetricsLog:
    """Appends rows and keeps a running checksum, so that checkpoints can vouch for what came before them."""

    def __init__(self, path: Path, n_rows: int = 0, checksum: str = NO_ROWS) -> None:
        """Open `path` and cut it back to its first `n_rows` rows.

        Raises `CorruptFile` when these rows are not the ones that `checksum` promises, `UserError` when another
        process is writing the file.
        """
        if os.path.lexists(path) and not path.is_file():
            raise CorruptFile(f"{path} is no ordinary file; restore it, or train into a new directory")
        self._file = open(path, "a+b")  # noqa: SIM115 - closed by close()
        try:
            _lock(self._file.fileno(), path)
            self._file.seek(0)
            lines, values = _read_lines(self._file.read(), path, n_rows)
            self._digest = _digest(values)
            if len(values) < n_rows or self.checksum != checksum:
                raise CorruptFile(
                    f"{path} was altered before its last checkpoint; restore it, or train into a new directory"
                )
            self.rows = _rows(values, path)
        except UserError:
            self._file.close()
            raise
        self._file.truncate(sum(map(len, lines)))

    def append(self, row: StepRow) -> None:
        values = plain(row)
        self._file.write((json.dumps(values, allow_nan=False) + "\n").encode())
        self._file.flush()
        self._digest.update(_content(values))
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


def read_metrics(path: Path, n_vouched: int = 0, checksum: str = NO_ROWS) -> list[StepRow]:
    """Rows of a metrics.jsonl; a torn last line is left out.

    Raises `CorruptFile` when another line is damaged, or the first `n_vouched` rows are not those of `checksum`.
    """
    values = _read_lines(read_file(path), path)[1] if os.path.lexists(path) else []
    if len(values) < n_vouched or _digest(values[:n_vouched]).hexdigest() != checksum:
        raise CorruptFile(f"{path} does not hold the steps that the last checkpoint saw; restore it, or train again")
    return _rows(values, path)


def _read_lines(content: bytes, path: Path, n_rows: int | None = None) -> tuple[list[bytes], list[dict[str, Any]]]:
    """The first `n_rows` whole lines (all of them for None) and what they hold."""
    lines = [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")][:n_rows]
    damaged = CorruptFile(f"{path} holds a damaged line; restore it, or train into a new directory")
    try:
        values = [parse_json(line, path) for line in lines]
    except CorruptFile:
        raise damaged from None
    if not all(isinstance(row, dict) for row in values):
        raise damaged
    return lines, values


def _rows(values: list[dict[str, Any]], path: Path) -> list[StepRow]:
    return [convert(StepRow, row, f"{path}, line {i}") for i, row in enumerate(values, 1)]


def _digest(values: list[dict[str, Any]]) -> "hashlib._Hash":
    return hashlib.sha256(b"".join(map(_content, values)))


def _content(values: dict[str, Any]) -> bytes:
    return (json.dumps({key: value for key, value in values.items() if key not in CLOCKED}) + "\n").encode()


def _lock(descriptor: int, path: Path) -> None:
    """Held until the file is closed or the process ends, however it ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{path.parent} is being trained by another process; wait for it, or end it first") from None
