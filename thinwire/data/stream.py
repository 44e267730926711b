"""Token streams of a corpus that is read document by document: records and data sets, of any size.

1. The tokenizer learns from the first `TOKENIZER_BYTES` of the training documents, unless one is given.
2. Every document is tokenised and written to its split, the one that a hash of its name gives. Binary and empty
   documents and exact duplicates are left out, and counted.
3. corpus.json holds the checksum of all names and contents, as for a corpus in memory, but lists no documents.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from thinwire.data.config import DataConfig
from thinwire.data.corpus import CorpusSplit, place, user_paths
from thinwire.data.records import HUGGING_FACE, Texts, data_set_texts, file_texts, holds_records, limited
from thinwire.data.tokenizer import Tokenizer
from thinwire.errors import UserError
from thinwire.progress import Progress, silent
from thinwire.storage.files import write_atomic, write_json

TOKENIZER_BYTES = 1 << 26
ENCODED_AT_ONCE = 1 << 20
"""Characters of text that are tokenised at a time: bounds memory, and paces the progress."""


def is_streamed(config: DataConfig) -> bool:
    """Whether any file of the source holds many documents, or the source is a data set."""
    if config.source.startswith(HUGGING_FACE):
        return True
    path = Path(config.source).expanduser()
    if path.is_file():
        return holds_records(path)
    wanted = [suffix for suffix in config.suffixes if holds_records(Path(f"x{suffix}"))]
    return bool(wanted) and path.is_dir() and any(map(holds_records, user_paths(config).values()))


def source_key(config: DataConfig) -> list[Any]:
    """What names the content without reading it: size and time of every file, or the data set's name and parts."""
    chosen = [config.source, config.text_field, config.heldout_frac, config.max_documents]
    if config.source.startswith(HUGGING_FACE):
        folder = Path(config.source.removeprefix(HUGGING_FACE)).expanduser()
        return [*chosen, config.subset, config.split, _states({str(p): p for p in sorted(folder.glob("**/*"))})]
    return [*chosen, _states(user_paths(config))]


def _states(paths: dict[str, Path]) -> list[list[Any]]:
    return [[name, s.st_size, s.st_mtime_ns] for name, path in sorted(paths.items()) if (s := path.stat())]


class Tally:
    """Counts of documents and bytes by split, and the checksum of all that was kept."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.splits = {split: {"n_files": 0, "n_bytes": 0} for split in ("train", "heldout")}
        self.n_skipped = self.n_duplicates = 0
        self._seen: set[bytes] = set()

    def keep(self, name: str, text: str | None, split: CorpusSplit) -> str | None:
        """The text of a document that is to be learnt from: no binary, no empty one, none that was there before."""
        if not text:
            self.n_skipped += 1
            return None
        content = text.encode()
        checksum = hashlib.sha256(content).digest()
        if checksum in self._seen:
            self.n_duplicates += 1
            return None
        self._seen.add(checksum)
        self.digest.update(f"{len(name)} {name} {checksum.hex()}\n".encode())
        self.splits[split]["n_files"] += 1
        self.splits[split]["n_bytes"] += len(content)
        return text


def write_streams(
    directory: Path, config: DataConfig, vocab_size: int, progress: Progress, given: Tokenizer | None = None
) -> None:
    """Fill `directory` with tokenizer.json, train.bin, heldout.bin and corpus.json; `given` is learnt before.

    Raises `UserError` for a source that cannot be read or leaves one of the splits empty.
    """
    tokenizer = given or Tokenizer.train(list(_sample(config)), vocab_size, progress)
    write_atomic(directory / "tokenizer.json", tokenizer.to_json())
    tally = Tally()
    pending: dict[CorpusSplit, list[str]] = {"train": [], "heldout": []}
    with ExitStack() as stack:
        files = {split: stack.enter_context(open(directory / f"{split}.bin", "wb")) for split in pending}
        for name, text in _texts(config, progress):
            split = _split(name, config)
            if kept := tally.keep(name, text, split):
                pending[split].append(kept)
                if sum(map(len, pending[split])) >= ENCODED_AT_ONCE:
                    files[split].write(token_bytes(tokenizer, pending.pop(split)))
                    pending[split] = []
        for split, texts in pending.items():
            files[split].write(token_bytes(tokenizer, texts))
    _check_both_splits(config, tally)
    write_json(directory / "corpus.json", _manifest(config, tally))


def token_bytes(tokenizer: Tokenizer, texts: list[str]) -> bytes:
    """Tokens of texts, each followed by the end of text, as little-endian uint16."""
    return b"".join(tokens.tobytes() for tokens in tokenizer.streams(texts))


def _split(name: str, config: DataConfig) -> CorpusSplit:
    return "heldout" if place(name) < config.heldout_frac else "train"


def _sample(config: DataConfig) -> Iterator[str]:
    """The first training documents, for the tokenizer."""
    tally = Tally()
    for name, text in _texts(config):
        split = _split(name, config)
        if (kept := tally.keep(name, text, split)) and split == "train":
            yield kept
            if tally.splits["train"]["n_bytes"] >= TOKENIZER_BYTES:
                return
    _check_both_splits(config, tally)


def _check_both_splits(config: DataConfig, tally: Tally) -> None:
    if not (tally.splits["train"]["n_files"] and tally.splits["heldout"]["n_files"]):
        kept = sum(counts["n_files"] for counts in tally.splits.values())
        raise UserError(
            f"{config.source} holds {kept} documents with text ({tally.n_skipped} binary or empty left out), too few "
            f"for training and {config.heldout_frac:.0%} held out; give more, or raise data.heldout_frac"
        )


def _texts(config: DataConfig, progress: Progress = silent) -> Texts:
    return limited(_all_texts(config, progress), config.max_documents)


def _all_texts(config: DataConfig, progress: Progress) -> Texts:
    if config.source.startswith(HUGGING_FACE):
        yield from data_set_texts(config)
        return
    paths = sorted(user_paths(config).items())
    with progress("tokenise", total=len(paths), unit="file") as advance:
        for name, path in paths:
            yield from file_texts(name, path, config.text_field)
            advance(1)


def _manifest(config: DataConfig, tally: Tally) -> dict[str, Any]:
    is_data_set = config.source.startswith(HUGGING_FACE)
    paths = {} if is_data_set else user_paths(config)
    return {
        "source_kind": "hugging face" if is_data_set else "records",
        "source": config.source,
        "python_version": None,
        "n_files": sum(counts["n_files"] for counts in tally.splits.values()),
        "n_bytes": sum(counts["n_bytes"] for counts in tally.splits.values()),
        "n_skipped": tally.n_skipped,
        "n_duplicates": tally.n_duplicates,
        "sha256": tally.digest.hexdigest(),
        "splits": tally.splits,
        "files": [{"name": name, "n_bytes": path.stat().st_size} for name, path in sorted(paths.items())],
    }
