"""A corpus: documents of text, each in exactly one of two splits.

1. Documents are found, source by source, in the order of their names.
2. Binary documents (a NUL byte, or no valid UTF-8), empty ones and exact duplicates of an earlier one, of whatever
   source, are left out, and counted.
3. Documents are held out by a hash of their name within their source: a split depends neither on the order in which
   files are found, nor on the files around them, nor on other sources. Duplicates are dropped first: no text is in
   both splits. A corpus that is one text file has its last lines held out.

Only names, sizes and checksums stay in memory. Texts are read when they are needed, and checked against the checksum.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from thinwire.data.config import DataConfig
from thinwire.data.records import Texts, limited
from thinwire.data.sources import Source, sources
from thinwire.errors import UserError
from thinwire.progress import Progress, silent
from thinwire.storage.files import sha256

CorpusSplit = Literal["train", "heldout"]
SPLITS: tuple[CorpusSplit, ...] = ("train", "heldout")


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a corpus."""

    source: int
    """Place of its source in the corpus."""
    name: str
    """Path relative to its source (with `/`); with the number of its line or row where a file holds many."""
    split: CorpusSplit
    sha256: bytes
    """Digest of the UTF-8 bytes of its text, newlines as they are."""
    n_bytes: int
    lines: tuple[int, int] | None = None
    """First line and end of the lines of the file that it consists of, where the corpus is one file."""


@dataclass
class Left:
    """How many documents of one source were left out, and why."""

    skipped: int = 0
    """Binary or empty."""
    duplicates: int = 0
    """Equal to a document found before."""


@dataclass(frozen=True)
class Corpus:
    """Documents in the order in which they were found, at least one per split."""

    sources: tuple[Source, ...]
    documents: tuple[Document, ...] = field(repr=False)
    left: tuple[Left, ...]
    """For each source, in their order."""

    @cached_property
    def sha256(self) -> str:
        """Of all (name, sha256) in order: equal exactly for equal names and contents."""
        lines = (f"{len(name)} {name} {d.sha256.hex()}\n" for d in self.documents if (name := self.name_of(d)))
        return sha256("".join(lines).encode())

    def name_of(self, document: Document) -> str:
        """The name; where there are several sources, behind that of its own."""
        source = self.sources[document.source].name
        return document.name if len(self.sources) == 1 else f"{source}:{document.name}"

    def texts(self, split: CorpusSplit) -> Iterator[str]:
        """Texts of one split, in the order of the documents. Raises `UserError` if one has changed meanwhile."""
        for number in range(len(self.sources)):
            wanted = [d for d in self.documents if d.source == number and d.split == split]
            yield from (text for _, text in self.read(number, wanted))

    def read(self, number: int, wanted: list[Document]) -> Iterator[tuple[Document, str]]:
        """Documents of one source with their texts: in the order of `wanted`, or, of a streamed source, in its own."""
        source = self.sources[number]
        names = None if source.is_streamed else list(dict.fromkeys(_read_as(d) for d in wanted))
        by_file: dict[str, list[Document]] = {}
        for document in wanted:
            by_file.setdefault(_read_as(document), []).append(document)
        for name, text in source.documents(names):
            for document in by_file.get(name, ()):
                yield document, _checked(document, text, source)


def read_corpus(config: DataConfig, progress: Progress = silent) -> Corpus:
    """Find the documents that `config` names, reading every text once.

    Raises `UserError` if a source is missing, unreadable or holds no text, or if all is a single line that cannot be
    split.
    """
    chosen, found, seen = sources(config), [], set()
    left = tuple(Left() for _ in chosen)
    with progress("read", total=sum(source.n_files for source in chosen), unit="file") as advance:
        for number, source in enumerate(chosen):
            texts = limited(source.documents(done=advance), config.max_documents if source.is_streamed else 0)
            found += _kept(number, texts, seen, left[number])
    if len(found) == 1 and not chosen[found[0].source].is_streamed:
        return Corpus(chosen, _by_lines(found[0], chosen[found[0].source], config), left)
    if len(found) < 2:
        raise UserError(_too_little(chosen, len(found), left, config))
    return Corpus(chosen, _by_place(found, config.heldout_frac), left)


def _kept(number: int, texts: Texts, seen: set[bytes], left: Left) -> Iterator[Document]:
    """The documents of one source that are to be learnt from, all in one split as yet."""
    for name, text in texts:
        content = (text or "").encode()
        digest = hashlib.sha256(content).digest()
        if not content:
            left.skipped += 1
        elif digest in seen:
            left.duplicates += 1
        else:
            seen.add(digest)
            yield Document(number, name, "train", digest, len(content))


def _too_little(chosen: tuple[Source, ...], n_found: int, left: tuple[Left, ...], config: DataConfig) -> str:
    names = ", ".join(source.name for source in chosen)
    skipped = sum(counts.skipped for counts in left)
    return (
        f"{names} holds {n_found} documents with text ({skipped} binary or empty left out), too few for training and "
        f"{config.heldout_frac:.0%} held out; give more UTF-8 text"
    )


def place(name: str) -> float:
    """A number in [0, 1) that depends on a document's name alone."""
    return int(sha256(name.encode())[:12], 16) / 16**12


def _by_place(documents: list[Document], heldout_frac: float) -> tuple[Document, ...]:
    """Hold out the documents whose place is below `heldout_frac`; at least one, and at most all but one."""
    places = [place(document.name) for document in documents]
    n_heldout = min(max(sum(p < heldout_frac for p in places), 1), len(documents) - 1)
    heldout = set(sorted(range(len(documents)), key=lambda i: places[i])[:n_heldout])
    return tuple(replace(d, split="heldout") if i in heldout else d for i, d in enumerate(documents))


def _by_lines(document: Document, source: Source, config: DataConfig) -> tuple[Document, ...]:
    """A single document becomes two, named after their lines: the last `heldout_frac` of the lines are held out."""
    ((_, text),) = source.documents([document.name])
    lines = (text or "").splitlines(keepends=True)
    n_lines = len(lines)
    if n_lines < 2:
        raise UserError(f"{source.name} is a single line, which cannot be split; give a corpus of at least two lines")
    n_train = n_lines - min(max(round(config.heldout_frac * n_lines), 1), n_lines - 1)
    halves: tuple[tuple[CorpusSplit, int, int], ...] = (("train", 0, n_train), ("heldout", n_train, n_lines))
    return tuple(_lines_of(document, lines, *half) for half in halves)


def _lines_of(document: Document, lines: list[str], split: CorpusSplit, start: int, stop: int) -> Document:
    content = "".join(lines[start:stop]).encode()
    name, digest = f"{document.name}:{start + 1}-{stop}", hashlib.sha256(content).digest()
    return Document(document.source, name, split, digest, len(content), (start, stop))


def _read_as(document: Document) -> str:
    """The name under which a document's source knows its text."""
    return document.name.rpartition(":")[0] if document.lines else document.name


def _checked(document: Document, text: str | None, source: Source) -> str:
    """The document's text out of its file's. Raises `UserError` if it is not the one that was found."""
    text = text or ""
    if document.lines:
        text = "".join(text.splitlines(keepends=True)[slice(*document.lines)])
    if hashlib.sha256(text.encode()).digest() != document.sha256:
        raise UserError(f"{document.name} of {source.name} has changed while it was read; run again")
    return text
