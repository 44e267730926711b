"""metrics.jsonl: one JSON object a line, appended as training goes; cut back to a checkpoint on resume."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from thinwire.errors import CorruptFile
from thinwire.storage import sha256


class MetricsLog:
    """Appends rows and keeps a running checksum, so that checkpoints can vouch for what came before them."""

    def __init__(self, path: Path, n_bytes: int = 0, checksum: str = sha256(b"")) -> None:
        """Open `path` and cut it back to `n_bytes`.

        Raises `CorruptFile` when these bytes are not the ones that `checksum` promises.
        """
        kept = path.read_bytes()[:n_bytes] if n_bytes else b""
        if len(kept) != n_bytes or sha256(kept) != checksum:
            raise CorruptFile(f"{path} was altered before its last checkpoint; train the run again")
        self._digest = hashlib.sha256(kept)
        self._file = open(path, "ab")  # noqa: SIM115 - closed by close()
        self._file.truncate(n_bytes)
        self.n_bytes = n_bytes

    def append(self, row: dict[str, Any]) -> None:
        line = (json.dumps(row, allow_nan=False) + "\n").encode()
        self._file.write(line)
        self._file.flush()
        self._digest.update(line)
        self.n_bytes += len(line)

    @property
    def checksum(self) -> str:
        return self._digest.hexdigest()

    def close(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of a metrics.jsonl; a torn last line is left out."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]
