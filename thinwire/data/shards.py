"""A corpus as token streams on disk, made once and cached.

    <cache>/<key>/ train.bin  heldout.bin  tokenizer.json  corpus.json  manifest.json

A stream is its split's documents in the order of their names, each followed by the end of text, as little-endian
uint16. The tokenizer learns from the training split alone, unless one is given. The folder appears whole or not at
all, so a killed preparation leaves nothing that is used later, and of two at once the first to finish wins.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from jaxtyping import UInt16

from thinwire.data.config import DataConfig
from thinwire.data.corpus import Corpus, CorpusSplit, load_corpus
from thinwire.data.stream import ENCODED_AT_ONCE, is_streamed, source_key, token_bytes, write_streams
from thinwire.data.tokenizer import MIN_PAIR_COUNT, Tokenizer
from thinwire.data.tokenizer_file import SPLIT_PATTERN
from thinwire.errors import CorruptFile, MissingFile, UserError
from thinwire.progress import Progress, silent
from thinwire.storage.files import (
    MANIFEST,
    new_directory,
    read_json,
    read_sealed,
    sha256,
    sha256_file,
    write_atomic,
    write_json,
)

FORMAT_VERSION = 1
SPLITS: tuple[CorpusSplit, ...] = ("train", "heldout")


@dataclass(frozen=True, eq=False)
class PreparedData:
    """The two token streams of a corpus (read-only memory maps) and the tokenizer that made them."""

    tokenizer: Tokenizer
    train: UInt16[np.ndarray, " n_train"]
    heldout: UInt16[np.ndarray, " n_heldout"]
    corpus_manifest: dict[str, Any]
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

    Raises `UserError` for a bad corpus, vocabulary or tokenizer (see `load_corpus`, `Tokenizer`) or a cache that cannot
    be written, `CorruptFile` or `MissingFile` if a cached file does not have the content it was written with.
    """
    cache = Path(cache or default_cache())
    given = Tokenizer.load(Path(config.tokenizer).expanduser(), vocab_size) if config.tokenizer else None
    named = {"given": given.sha256} if given else {}
    if is_streamed(config):
        directory = cache / _key({"source": source_key(config), **named}, vocab_size)
        _ensure(directory, lambda made: write_streams(made, config, vocab_size, progress, given))
        return _open(directory, None)
    corpus = load_corpus(config)
    heldout = [document.name for document in corpus.documents if document.split == "heldout"]
    directory = cache / _key({"corpus": corpus.sha256, "heldout": heldout, **named}, vocab_size)
    _ensure(directory, lambda made: _write(made, corpus, vocab_size, progress, given))
    return _open(directory, corpus.manifest())


def _key(content: dict[str, Any], vocab_size: int) -> str:
    """Name of everything that the token streams depend on."""
    parts = {
        "format": FORMAT_VERSION,
        **content,
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


def _write(directory: Path, corpus: Corpus, vocab_size: int, progress: Progress, given: Tokenizer | None) -> None:
    tokenizer = given or Tokenizer.train(corpus.texts("train"), vocab_size, progress)
    write_atomic(directory / "tokenizer.json", tokenizer.to_json())
    write_json(directory / "corpus.json", corpus.manifest())
    with progress("tokenise", total=len(corpus.documents), unit="document") as advance:
        for split in SPLITS:
            with open(directory / f"{split}.bin", "wb") as file:
                for chunk in _chunks(corpus.texts(split)):
                    file.write(token_bytes(tokenizer, chunk))
                    advance(len(chunk))


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    """Consecutive texts in groups that end once they hold `ENCODED_AT_ONCE` characters."""
    chunk: list[str] = []
    for text in texts:
        chunk.append(text)
        if sum(map(len, chunk)) >= ENCODED_AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _open(directory: Path, manifest: dict[str, Any] | None) -> PreparedData:
    """`manifest`: where it is known from the source itself, which may have moved since it was prepared."""
    try:
        tokenizer = Tokenizer.from_json(read_sealed(directory, "tokenizer.json").decode())
        train, heldout = (_open_stream(directory, f"{split}.bin") for split in SPLITS)
        stored = json.loads(read_sealed(directory, "corpus.json"))
    except (CorruptFile, MissingFile) as error:
        problem = str(error).split(";")[0]
        raise type(error)(f"{problem}; delete the folder {directory} and run again") from None
    return PreparedData(tokenizer, train, heldout, manifest or stored, directory)


def _open_stream(directory: Path, name: str) -> UInt16[np.ndarray, " n_tokens"]:
    """A stream as a memory map, after its checksum was compared without holding it in memory."""
    entry = read_json(directory / MANIFEST)["files"].get(name)
    if entry is None:
        raise MissingFile(f"{directory / name} is missing")
    if sha256_file(directory / name) != entry["sha256"]:
        raise CorruptFile(f"{directory / name} does not match its checksum")
    return np.memmap(directory / name, dtype="<u2", mode="r")
