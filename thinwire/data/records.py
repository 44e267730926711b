"""Documents out of files and data sets that hold many: .jsonl, .parquet, Hugging Face `datasets`; and text files.

Documents come one after the other, so that a corpus may be larger than memory. Each has a name that never changes:
its file's relative path, with the number of its line or row (from 1) where a file holds many.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from thinwire.data.config import DataConfig
from thinwire.errors import UserError

HUGGING_FACE = "hf:"
"""Start of a `data.source` that names a Hugging Face data set, on the hub or in a folder."""
RECORD_SUFFIXES = (".jsonl", ".parquet")

Texts = Iterator[tuple[str, str | None]]
"""(name, text), the text None where a file is binary."""


def holds_records(path: Path) -> bool:
    """Whether a file holds many documents."""
    return path.name.endswith(RECORD_SUFFIXES)


def file_texts(name: str, path: Path, field: str) -> Texts:
    """The documents of one file. Raises `UserError` naming file and line when it cannot be read."""
    read = {".jsonl": _jsonl, ".parquet": _parquet}.get(path.suffix, _whole)
    try:
        yield from read(name, path, field)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); restore it or move it away") from None


def _whole(name: str, path: Path, field: str) -> Texts:
    yield name, decoded(path.read_bytes())


def decoded(content: bytes) -> str | None:
    """Text with its newlines unchanged, None for binary content (a NUL, or no valid UTF-8)."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _jsonl(name: str, path: Path, field: str) -> Texts:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}:{number} is no JSON ({error}); correct the line or remove it") from None
            yield f"{name}:{number}", _text(record, field, f"{path}:{number}")


def _parquet(name: str, path: Path, field: str) -> Texts:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError("reading .parquet needs pyarrow; install it with: pip install 'thinwire[hf]'") from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if field not in file.schema_arrow.names:
                _refuse(field, file.schema_arrow.names, str(path))
            number = 0
            for batch in file.iter_batches(batch_size=1024, columns=[field]):
                for text in batch.column(0).to_pylist():
                    number += 1
                    yield f"{name}:{number}", _text({field: text}, field, f"{path}:{number}")
    except pyarrow.ArrowException as error:
        raise UserError(f"{path} is no readable parquet file ({error}); restore it or move it away") from None


def data_set_texts(config: DataConfig) -> Texts:
    """The rows of a Hugging Face data set, streamed. Raises `UserError` when it is not there or cannot be read."""
    try:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
    except ImportError:
        raise UserError("Hugging Face data sets need an extra; install it with: pip install 'thinwire[hf]'") from None
    name = config.source.removeprefix(HUGGING_FACE)
    try:
        rows = load_dataset(name, config.subset or None, split=config.split, streaming=True)
        for number, row in enumerate(rows, 1):
            yield f"{number}", _text(dict(row), config.text_field, f"{config.source} row {number}")
    except UserError:
        raise
    except (OSError, ValueError, DatasetsError) as error:
        raise UserError(
            f"{config.source} cannot be read ({error}); data.source names the set, data.subset and data.split its parts"
        ) from None


def limited(texts: Texts, n: int) -> Texts:
    """The first `n`; all of them for 0."""
    return islice(texts, n or None)


def _text(record: Any, field: str, where: str) -> str | None:
    """The text of one record, None where it is no text that can be learnt."""
    if not isinstance(record, dict) or field not in record:
        _refuse(field, list(record) if isinstance(record, dict) else [], where)
    text = record[field]
    if text is not None and not isinstance(text, str):
        raise UserError(f"{where}: {field} holds {type(text).__name__}, not text; set data.text_field to another")
    return None if text is None or "\0" in text else text


def _refuse(field: str, there: list[str], where: str) -> None:
    listed = f"; there are: {', '.join(map(str, there))}" if there else ""
    raise UserError(f"{where} has no field {field}{listed}; set data.text_field to the one that holds the text")
