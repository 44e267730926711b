"""A corpus: documents of text, each in exactly one of two splits.

1. Files are found: the interpreter's standard library, a folder, or one file.
2. Binary files (a NUL byte, or no valid UTF-8), empty files and exact duplicates are left out, and counted.
3. Documents are held out by a hash of their relative path, so that a split depends neither on the order in
   which files are found nor on the files around them. Duplicates are dropped first: no text is in both splits.
"""

import os
import platform
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from thinwire.data.config import STDLIB, DataConfig
from thinwire.data.records import decoded
from thinwire.errors import UserError
from thinwire.storage.files import sha256

CorpusSplit = Literal["train", "heldout"]

STDLIB_TEST_FOLDERS = frozenset({"test", "tests", "idle_test"})


@dataclass(frozen=True)
class Document:
    """One text with the path it was found at, relative to the corpus (with `/`)."""

    name: str
    text: str = field(repr=False)
    """The file's UTF-8 content, newlines as they are."""
    split: CorpusSplit
    sha256: str
    """Of the UTF-8 bytes of `text`."""

    @cached_property
    def n_bytes(self) -> int:
        return len(self.text.encode())


@dataclass(frozen=True)
class Corpus:
    """Documents sorted by name, at least one per split."""

    source: str
    """`stdlib` or a path, as configured."""
    documents: tuple[Document, ...] = field(repr=False)
    n_skipped: int = 0
    """Files left out because they are binary or empty."""
    n_duplicates: int = 0
    """Files left out because their content equals that of a file whose name sorts before."""

    def texts(self, split: CorpusSplit) -> list[str]:
        """Texts of one split, in the order of the documents' names."""
        return [document.text for document in self.documents if document.split == split]

    @cached_property
    def sha256(self) -> str:
        """Of all (name, sha256) in order: equal exactly for equal names and contents."""
        return sha256("".join(f"{len(d.name)} {d.name} {d.sha256}\n" for d in self.documents).encode())

    def manifest(self) -> dict[str, Any]:
        """The content of `corpus.json`: where the text came from, and every file by its checksum."""
        is_stdlib = self.source == STDLIB
        return {
            "source_kind": "stdlib" if is_stdlib else "path",
            "source": self.source,
            "python_version": platform.python_version() if is_stdlib else None,
            "n_files": len(self.documents),
            "n_bytes": sum(document.n_bytes for document in self.documents),
            "n_skipped": self.n_skipped,
            "n_duplicates": self.n_duplicates,
            "sha256": self.sha256,
            "splits": {split: self._counts(split) for split in ("train", "heldout")},
            "files": [{"name": d.name, "sha256": d.sha256, "split": d.split} for d in self.documents],
        }

    def _counts(self, split: str) -> dict[str, int]:
        sizes = [document.n_bytes for document in self.documents if document.split == split]
        return {"n_files": len(sizes), "n_bytes": sum(sizes)}


def load_corpus(config: DataConfig) -> Corpus:
    """Read the corpus that `config` names.

    From a folder every file with one of the suffixes is read, except below hidden folders; a single file is read
    whatever its name, and its last lines are held out. Raises `UserError` if the source is missing, unreadable,
    holds no text, or is a single line that cannot be split.
    """
    paths = _stdlib_paths() if config.source == STDLIB else user_paths(config)
    texts: dict[str, str] = {}
    seen: set[str] = set()
    n_skipped = n_duplicates = 0
    for name, path in sorted(paths.items()):
        text = _read_text(path)
        if not text:
            n_skipped += 1
        elif (digest := sha256(text.encode())) in seen:
            n_duplicates += 1
        else:
            seen.add(digest)
            texts[name] = text
    if not texts:
        raise UserError(_nothing_left(config, n_skipped))
    documents = _split_by_lines(texts, config) if len(texts) == 1 else _split_by_name(texts, config.heldout_frac)
    return Corpus(config.source, documents, n_skipped, n_duplicates)


def _nothing_left(config: DataConfig, n_skipped: int) -> str:
    skipped = f" ({n_skipped} binary or empty left out)" if n_skipped else ""
    if Path(config.source).expanduser().is_file():
        return f"{config.source} is binary or empty; point data.source at a UTF-8 text file or a folder of them"
    endings = ", ".join(map(repr, config.suffixes))
    return f"{config.source} holds no text files ending in {endings}{skipped}; change data.source or data.suffixes"


# 1. Finding files: relative name -> path.


def _stdlib_paths() -> dict[str, Path]:
    """The running interpreter's standard library: its public list of modules leaves out what a build or a site adds."""
    root = Path(sysconfig.get_paths()["stdlib"])
    return {
        name: path
        for name, path in _walk(root, (".py",), lambda folder: folder in STDLIB_TEST_FOLDERS)
        if name.split("/")[0].removesuffix(".py") in sys.stdlib_module_names
    }


def user_paths(config: DataConfig) -> dict[str, Path]:
    """Relative name -> path of the file or of all chosen files of the folder that `config` names."""
    root = Path(config.source).expanduser()
    if root.is_file():
        return {_printable(root.name): root}
    if not root.is_dir():
        raise UserError(f"{config.source} is no file or folder; point data.source at one, or at {STDLIB}")
    return dict(_walk(root, config.suffixes, lambda folder: folder.startswith(".")))


def _walk(root: Path, suffixes: tuple[str, ...], leave_out: Callable[[str], bool]) -> Iterator[tuple[str, Path]]:
    for folder, subfolders, files in os.walk(root, onerror=_refuse):
        subfolders[:] = [name for name in subfolders if not leave_out(name)]
        for file in files:
            path = Path(folder, file)
            if file.endswith(suffixes) and path.is_file():
                yield _printable(path.relative_to(root).as_posix()), path


def _printable(name: str) -> str:
    """A file name that is no valid UTF-8 has its bytes shown as escapes, so that it can be hashed and stored."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be read ({error.strerror}); make it readable or move it away") from None


# 2. Reading.


def _read_text(path: Path) -> str | None:
    """Content with its newlines unchanged, None for a binary file."""
    try:
        return decoded(path.read_bytes())
    except OSError as error:
        return _refuse(error)


# 3. Splitting.


def place(name: str) -> float:
    """A number in [0, 1) that depends on a document's name alone."""
    return int(sha256(name.encode())[:12], 16) / 16**12


def _split_by_name(texts: dict[str, str], heldout_frac: float) -> tuple[Document, ...]:
    """Hold out the documents whose place is below `heldout_frac`; at least one, and at most all but one."""
    by_place = sorted(texts, key=place)
    n_heldout = sum(place(name) < heldout_frac for name in texts)
    heldout = set(by_place[: min(max(n_heldout, 1), len(texts) - 1)])
    return tuple(_document(name, text, "heldout" if name in heldout else "train") for name, text in texts.items())


def _split_by_lines(texts: dict[str, str], config: DataConfig) -> tuple[Document, ...]:
    """A single document becomes two, named after their lines: the last `heldout_frac` of the lines are held out."""
    ((name, text),) = texts.items()
    lines = text.splitlines(keepends=True)
    n_lines = len(lines)
    if n_lines < 2:
        raise UserError(f"{config.source} is a single line, which cannot be split; give a corpus of at least two lines")
    n_train = n_lines - min(max(round(config.heldout_frac * n_lines), 1), n_lines - 1)
    train = _document(f"{name}:1-{n_train}", "".join(lines[:n_train]), "train")
    heldout = _document(f"{name}:{n_train + 1}-{n_lines}", "".join(lines[n_train:]), "heldout")
    return tuple(sorted((train, heldout), key=lambda document: document.name))


def _document(name: str, text: str, split: CorpusSplit) -> Document:
    return Document(name, text, split, sha256(text.encode()))
