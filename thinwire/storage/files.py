"""Files that survive a kill: written to a temporary name, renamed, checked when read back.

Three habits cover every artefact of the package:

1. `write_atomic` - one file appears whole or not at all.
2. `new_directory` - a whole directory (a run, a circuit) appears sealed or not at all.
3. `read_sealed` - a file is read back only if its checksum is the one in `manifest.json`.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thinwire.errors import CorruptFile, MissingFile, UserError

MANIFEST = "manifest.json"


def sha256(data: bytes) -> str:
    """Hex digest of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex digest of a file's content, read in blocks of 1 MiB.

    Raises `MissingFile` when there is no such file.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except FileNotFoundError:
        raise MissingFile(f"{path} is missing") from None
    return digest.hexdigest()


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` so that `path` holds either its old content or all of the new one."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def to_json(value: Any) -> str:
    """JSON text as every artefact stores it: indented, strict (NaN is refused), one final newline."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """`write_atomic` of `to_json(value)`."""
    write_atomic(path, to_json(value))


def read_json(path: Path) -> Any:
    """Parsed content of a JSON file; `MissingFile` or `CorruptFile` name it when that fails."""
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise MissingFile(f"{path} is missing") from None
    except ValueError as error:
        raise CorruptFile(f"{path} is not valid JSON ({error}); restore it or make it again") from None


def _entry(path: Path) -> dict[str, Any]:
    return {"sha256": sha256_file(path), "bytes": path.stat().st_size}


def seal(directory: Path, names: Iterable[str]) -> None:
    """Write `manifest.json`: size and checksum of each named file of `directory`."""
    files = {name: _entry(Path(directory) / name) for name in sorted(names)}
    write_json(Path(directory) / MANIFEST, {"version": 1, "files": files})


def add_sealed(directory: Path, name: str, data: bytes | str) -> None:
    """Add or replace one file of a sealed directory.

    A file that is replaced is listed with both checksums while it changes, so that a kill at any moment leaves its
    old or its new content. A file that is added is listed last: after a kill before that it counts as absent.
    """
    directory = Path(directory)
    content = data.encode() if isinstance(data, str) else data
    files = read_json(directory / MANIFEST)["files"]
    entry = {"sha256": sha256(content), "bytes": len(content)}
    if name in files and (directory / name).exists():
        files[name] = {**_entry(directory / name), "next": entry} if _matches(directory, name, files[name]) else entry
        write_json(directory / MANIFEST, {"version": 1, "files": files})
    write_atomic(directory / name, content)
    files[name] = entry
    write_json(directory / MANIFEST, {"version": 1, "files": dict(sorted(files.items()))})


def _matches(directory: Path, name: str, entry: dict[str, Any]) -> bool:
    """Whether a file has the content that its entry promises, or the one that was about to replace it."""
    found = _entry(directory / name)
    return any(found["sha256"] == one["sha256"] for one in (entry, entry.get("next", entry)))


def read_sealed(directory: Path, name: str) -> bytes:
    """Content of one file of a sealed directory.

    Raises `MissingFile` if it is absent or was never sealed, `CorruptFile` if a single bit changed.
    """
    directory = Path(directory)
    entry = read_json(directory / MANIFEST)["files"].get(name)
    if entry is None or not (directory / name).exists():
        raise MissingFile(f"{directory / name} is missing; make it again")
    data = (directory / name).read_bytes()
    if sha256(data) not in (entry["sha256"], entry.get("next", entry)["sha256"]):
        raise CorruptFile(f"{directory / name} does not match its checksum; restore it or make it again")
    return data


def is_sealed(directory: Path, name: str) -> bool:
    """Whether `name` is listed in the directory's manifest and is there (content unchecked)."""
    directory = Path(directory)
    if not (directory / MANIFEST).exists() or not (directory / name).exists():
        return False
    return name in read_json(directory / MANIFEST)["files"]


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """A directory that appears under `path`, sealed, when the block ends without an error.

    The block writes into the temporary directory it is given. Raises `UserError` if
    `path` holds something already.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} is not empty; choose another directory or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    temporary.chmod(0o755)
    try:
        yield temporary
        seal(temporary, [str(p.relative_to(temporary)) for p in temporary.rglob("*") if p.is_file()])
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
