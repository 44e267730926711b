"""A corpus as token streams on disk, made once and cached.

    <cache>/<key>/ train.bin  heldout.bin  tokenizer.json  corpus.json  manifest.json

A stream is its split's documents in the order of `thinwire.data.stream`, each followed by the end of text, as
little-endian uint16. The tokenizer learns from the training split alone, unless one is given; of records and data sets
it takes the first 64 MiB. The folder appears whole or not at all, so a killed preparation leaves nothing that is used
later, and of two at once the first to finish wins.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from jaxtyping import UInt16

from thinwire.data.config import DataConfig
from thinwire.data.corpus import SPLITS, CorpusSplit, read_corpus
from thinwire.data.manifest import CorpusManifest, HeldoutOverlap, manifest
from thinwire.data.overlap import WINDOW, deduplicated, find_overlap
from thinwire.data.sources import sources
from thinwire.data.stream import Stream
from thinwire.data.token_file import TokenFile
from thinwire.data.tokenizer import MIN_PAIR_COUNT, Tokenizer
from thinwire.data.tokenizer_file import SPLIT_PATTERN
from thinwire.errors import CorruptFile, MissingFile, UserError
from thinwire.progress import Progress, silent
from thinwire.storage.files import (
    MANIFEST,
    new_directory,
    read_manifest,
    read_sealed,
    read_sealed_record,
    record_json,
    sha256,
    sha256_file,
    write_atomic,
)

FORMAT_VERSION = 3
TOKENIZER_BYTES = 1 << 26
"""Text of records and data sets that a tokenizer learns from; of files it learns from all."""


@dataclass(frozen=True, eq=False)
class PreparedData:
    """The two token streams of a corpus (read-only memory maps) and the tokenizer that made them."""

    tokenizer: Tokenizer
    train: UInt16[np.ndarray, " n_train"]
    heldout: UInt16[np.ndarray, " n_heldout"]
    corpus_manifest: CorpusManifest
    """The content of `corpus.json`."""
    directory: Path


def default_cache() -> Path:
    """`$THINWIRE_CACHE`, else `$XDG_CACHE_HOME/thinwire`, else `~/.cache/thinwire`."""
    if chosen := os.environ.get("THINWIRE_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "thinwire"


def prepare(
    config: DataConfig, vocab_size: int, cache: Path | None = None, progress: Progress = silent
) -> PreparedData:
    """Read, tokenise and open a corpus; the tokens come from the cache when the same text was prepared before.

    Raises `UserError` for a bad corpus, vocabulary or tokenizer (see `read_corpus`, `Tokenizer`) or a cache that cannot
    be written, `CorruptFile` or `MissingFile` if a cached file does not have the content it was written with.
    """
    cache = Path(cache or default_cache())
    given = Tokenizer.load(Path(config.tokenizer).expanduser(), vocab_size) if config.tokenizer else None
    chosen = sources(config)
    streamed = any(source.is_streamed for source in chosen)
    corpus = None if streamed else read_corpus(config, progress)
    content = [source.state() for source in chosen] if corpus is None else corpus.sha256
    directory = cache / _key(config, vocab_size, content, [source.versions for source in chosen], given)

    def write(made: Path) -> None:
        _write(made, Stream(corpus or read_corpus(config, progress), config), vocab_size, progress, given)

    _ensure(directory, write)
    return _open(directory)


def _key(config: DataConfig, vocab_size: int, content: Any, versions: Any, given: Tokenizer | None) -> str:
    """Name of everything that the token streams and their manifest depend on."""
    parts = {
        "format": FORMAT_VERSION,
        "content": content,
        "versions": versions,
        "config": {**asdict(config), "tokenizer": given.sha256 if given else ""},
        "vocab_size": vocab_size,
        "tokenizer": [tokenizers.__version__, SPLIT_PATTERN, MIN_PAIR_COUNT],
    }
    return sha256(json.dumps(parts).encode())[:24]


def _ensure(directory: Path, write: Callable[[Path], None]) -> None:
    """Have `directory` written, whole or not at all."""
    try:
        if not directory.exists():
            with new_directory(directory) as temporary:
                write(temporary)
    except (OSError, UserError) as error:
        if os.path.exists(directory / MANIFEST):
            return  # another process finished first
        if isinstance(error, OSError):
            raise UserError(
                f"{directory} cannot be written ({error.strerror or error}); "
                f"free space, or set THINWIRE_CACHE to another folder"
            ) from None
        raise


def _write(directory: Path, stream: Stream, vocab_size: int, progress: Progress, given: Tokenizer | None) -> None:
    tokenizer = given or _learnt(stream, vocab_size, progress)
    write_atomic(directory / "tokenizer.json", tokenizer.to_json())
    n_tokens = _write_tokens(directory, stream, tokenizer, progress)
    overlap = _compare(directory, tokenizer.end_of_text, stream.config.dedupe_heldout, progress)
    write_atomic(directory / "corpus.json", record_json(manifest(stream, n_tokens, overlap)))


def _learnt(stream: Stream, vocab_size: int, progress: Progress) -> Tokenizer:
    n_train = sum(stream.copies[d] for d in stream.corpus.documents if d.split == "train")
    return Tokenizer.train(_sample(stream), vocab_size, n_train, progress)


def _sample(stream: Stream) -> Iterator[str]:
    """The training text, until records and data sets have given their part."""
    n_bytes = 0
    for document, _, text in stream.visits(("train",)):
        yield text
        n_bytes += document.n_bytes * stream.corpus.sources[document.source].is_streamed
        if n_bytes >= TOKENIZER_BYTES:
            return


def _write_tokens(
    directory: Path, stream: Stream, tokenizer: Tokenizer, progress: Progress
) -> dict[CorpusSplit, list[int]]:
    """Write both streams; tokens of each source, by split."""
    with ExitStack() as stack:
        files: dict[CorpusSplit, TokenFile] = {
            split: TokenFile(
                stack.enter_context(open(directory / f"{split}.bin", "wb")), tokenizer, len(stream.corpus.sources)
            )
            for split in SPLITS
        }
        advance = stack.enter_context(progress("tokenise", total=len(stream), unit="document"))
        for document, _, text in stream.visits():
            files[document.split].add(text, document.source)
            advance(1)
        for file in files.values():
            file.flush()
    return {split: file.n_tokens for split, file in files.items()}


def _compare(directory: Path, end_of_text: int, dedupe: bool, progress: Progress) -> HeldoutOverlap:
    """How much of the held-out stream stands in training; with `dedupe` it is left without that, and compared again."""
    train, heldout = (_mapped(directory / f"{split}.bin") for split in SPLITS)
    overlap = find_overlap(train, heldout, end_of_text, progress)
    if not dedupe:
        return HeldoutOverlap(WINDOW, len(overlap.starts), overlap.share)
    kept = deduplicated(heldout, overlap, end_of_text)
    if not len(kept):
        raise UserError(
            f"every {WINDOW} tokens of the held-out text stand in training text; hold out more (data.heldout_frac), or "
            f"leave data.dedupe_heldout off"
        )
    write_atomic(directory / "heldout.bin", kept.tobytes())
    after = find_overlap(train, kept, end_of_text, progress)
    return HeldoutOverlap(WINDOW, len(after.starts), after.share, len(heldout) - len(kept), share_before=overlap.share)


def _mapped(path: Path) -> UInt16[np.ndarray, " n_tokens"]:
    """A stream as a memory map; an empty file cannot be mapped."""
    return np.memmap(path, dtype="<u2", mode="r") if path.stat().st_size else np.empty(0, dtype="<u2")


def _open(directory: Path) -> PreparedData:
    try:
        tokenizer = Tokenizer.from_json(read_sealed(directory, "tokenizer.json").decode())
        train, heldout = (_open_stream(directory, f"{split}.bin") for split in SPLITS)
        stored = read_sealed_record(CorpusManifest, directory, "corpus.json")
    except (CorruptFile, MissingFile) as error:
        problem = str(error).split(";")[0]
        raise type(error)(f"{problem}; delete the folder {directory} and run again") from None
    return PreparedData(tokenizer, train, heldout, stored, directory)


def _open_stream(directory: Path, name: str) -> UInt16[np.ndarray, " n_tokens"]:
    """A stream as a memory map, after its checksum was compared without holding it in memory."""
    entry = read_manifest(directory).files.get(name)
    if entry is None:
        raise MissingFile(f"{directory / name} is missing")
    if sha256_file(directory / name) != entry.sha256:
        raise CorruptFile(f"{directory / name} does not match its checksum")
    return _mapped(directory / name)
