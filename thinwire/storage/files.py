"""Files that survive a kill: written to a temporary name, renamed, checked when read back.

Three habits cover every artefact of the package:

1. `write_atomic` - one file appears whole or not at all.
2. `new_directory` - a whole directory (a run, a circuit) appears sealed or not at all.
3. `read_sealed` - a file is read back only if its checksum is the one in `manifest.json`.

Only ordinary files are read: a pipe or a device would be read for ever. What a killed writer left is removed when the
same place is written again (`storage.temporary`).
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from stat import S_ISREG
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta

from thinwire.errors import CorruptFile, MissingFile, UserError
from thinwire.storage.records import Count, Sha256, parse_json, plain, read_record
from thinwire.storage.temporary import temporary_directory, temporary_file

MANIFEST = "manifest.json"
MAX_RECORD = 1 << 28
"""Bytes of a file that is read as one record."""

T = TypeVar("T")


@dataclass(frozen=True)
class Content:
    """A checksum and a size."""

    sha256: Sha256
    bytes: Count


@dataclass(frozen=True)
class Entry:
    """What one file of a sealed directory holds."""

    sha256: Sha256
    bytes: Count
    next: Content | None = None
    """What is about to replace it, so that a kill in between leaves a file that one of both describes."""

    def allows(self, checksum: str) -> bool:
        return checksum == self.sha256 or (self.next is not None and checksum == self.next.sha256)


@dataclass(frozen=True)
class Manifest:
    """The files of a sealed directory: `manifest.json`."""

    version: Literal[1] = 1
    files: dict[Annotated[str, Meta(min_length=1, max_length=1024)], Entry] = field(default_factory=dict)


def sha256(data: bytes) -> str:
    """Hex digest of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex digest of a file's content, read in blocks of 1 MiB.

    Raises `MissingFile` when there is no such file, `CorruptFile` when it is no ordinary one.
    """
    with _opened(Path(path)) as file:
        return _digest(file)


def _digest(file: BufferedReader) -> str:
    """Of all that is still to be read, in blocks of 1 MiB."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def read_file(path: Path, limit: int | None = None) -> bytes:
    """Content of an ordinary file.

    Raises `MissingFile` when there is none, `CorruptFile` for a folder, a pipe or a device, and for more than `limit`
    bytes.
    """
    with _opened(Path(path)) as file:
        size = os.fstat(file.fileno()).st_size
        if limit is not None and size > limit:
            raise CorruptFile(f"{path} has {size} bytes, more than any of its kind; restore it or make it again")
        return file.read(size)


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFile(f"{path} is missing; make it again") from None
    except PermissionError:
        raise
    except OSError as error:  # a socket, a circle of links
        raise CorruptFile(f"{path} cannot be read ({error.strerror}); restore it or make it again") from None
    if not S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CorruptFile(f"{path} is no ordinary file; restore it or make it again")
    with open(descriptor, "rb") as file:
        yield file


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` so that `path` holds either its old content or all of the new one."""
    path = Path(path)
    with temporary_file(path) as (file, temporary):
        file.write(unicode_text(data).encode() if isinstance(data, str) else data)
        file.flush()
        os.fsync(file.fileno())
        os.replace(temporary, path)


def to_json(value: Any) -> str:
    """JSON text as every artefact stores it: indented, strict (NaN is refused), one final newline."""
    return unicode_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)) + "\n"


def unicode_text(text: str) -> str:
    """`text` in which bytes of file names that are no text in this locale are what they are in UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def write_json(path: Path, value: Any) -> None:
    """`write_atomic` of `to_json(value)`."""
    write_atomic(path, to_json(value))


def read_json(path: Path) -> Any:
    """Plain values of a JSON file that has no record; `MissingFile` or `CorruptFile` name it when that fails."""
    return parse_json(read_file(path, MAX_RECORD), path)


def record_json(record: Any) -> str:
    """A record as JSON text."""
    return to_json(plain(record))


def read_manifest(directory: Path) -> Manifest:
    """Raises `MissingFile` when the directory is not sealed, `CorruptFile` when its manifest is damaged."""
    path = Path(directory) / MANIFEST
    return read_record(Manifest, read_file(path, MAX_RECORD), path)


def is_sealed(directory: Path, name: str = "") -> bool:
    """Whether the directory has a manifest and, with a `name`, lists it (that file itself is not looked at)."""
    there = os.path.lexists(Path(directory) / MANIFEST)
    return there and (not name or name in read_manifest(directory).files)


def _entry(path: Path) -> Entry:
    return Entry(sha256_file(path), path.stat().st_size)


def _write_manifest(directory: Path, files: dict[str, Entry]) -> None:
    write_atomic(directory / MANIFEST, record_json(Manifest(files=dict(sorted(files.items())))))


def seal(directory: Path, names: Iterable[str]) -> None:
    """Write `manifest.json`: size and checksum of each named file of `directory`."""
    directory = Path(directory)
    _write_manifest(directory, {name: _entry(directory / name) for name in names})


def add_sealed(directory: Path, name: str, data: bytes | str) -> None:
    """Add or replace one file of a sealed directory.

    A file that is replaced is listed with both checksums while it changes, so that a kill at any moment leaves its
    old or its new content. A file that is added is listed last: after a kill before that it counts as absent.
    """
    directory = Path(directory)
    content = unicode_text(data).encode() if isinstance(data, str) else data
    files = dict(read_manifest(directory).files)
    entry = Entry(sha256(content), len(content))
    if name in files and (directory / name).exists():
        before = _entry(directory / name)
        whole = files[name].allows(before.sha256)
        files[name] = Entry(before.sha256, before.bytes, Content(entry.sha256, entry.bytes)) if whole else entry
        _write_manifest(directory, files)
    write_atomic(directory / name, content)
    _write_manifest(directory, files | {name: entry})


def _listed(directory: Path, name: str) -> Entry:
    """What the manifest says of a file. Raises `MissingFile` if it says nothing."""
    entry = read_manifest(directory).files.get(name)
    if entry is None:
        path = Path(directory) / name
        there = f"not listed in {MANIFEST}" if os.path.lexists(path) else "missing"
        raise MissingFile(f"{path} is {there}; make it again")
    return entry


def read_sealed(directory: Path, name: str) -> bytes:
    """Content of one file of a sealed directory.

    Raises `MissingFile` if it is absent or was never sealed, `CorruptFile` if a single bit changed.
    """
    directory = Path(directory)
    entry = _listed(directory, name)
    data = read_file(directory / name, max(entry.bytes, entry.next.bytes if entry.next else 0))
    if not entry.allows(sha256(data)):
        raise CorruptFile(f"{directory / name} does not match its checksum; restore it or make it again")
    return data


@contextmanager
def open_sealed(directory: Path, name: str) -> Iterator[BufferedReader]:
    """A file of a sealed directory, open for reading, once its checksum was found to be right; it is not held whole.

    Raises as `read_sealed` does.
    """
    path = Path(directory) / name
    entry = _listed(directory, name)
    with _opened(path) as file:
        if not entry.allows(_digest(file)):
            raise CorruptFile(f"{path} does not match its checksum; restore it or make it again")
        file.seek(0)
        yield file


def read_either(directory: Path, name: str, limit: int | None = MAX_RECORD) -> bytes:
    """Content of one file of a directory, checked where that is sealed, else as it lies there, up to `limit` bytes."""
    return read_sealed(directory, name) if is_sealed(directory) else read_file(Path(directory) / name, limit)


def read_sealed_record(cls: type[T], directory: Path, name: str) -> T:
    """The record in one file of a sealed directory. Raises as `read_sealed` and `records.convert` do."""
    return read_record(cls, read_sealed(directory, name), Path(directory) / name)


def check_unused(path: Path) -> None:
    """Raises `UserError` if `path` holds something already."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} is not empty; choose another directory or remove it")


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """A directory that appears under `path`, sealed, when the block ends without an error.

    The block writes into the temporary directory it is given. Raises `UserError` if
    `path` holds something already.
    """
    path = Path(path)
    check_unused(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_directory(path) as temporary:
        yield temporary
        seal(temporary, [str(p.relative_to(temporary)) for p in temporary.rglob("*") if p.is_file()])
        os.replace(temporary, path)
