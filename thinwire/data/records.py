"""Documents out of files and data sets: text files, .jsonl, .parquet, Hugging Face `datasets`.

Documents come one after the other, so that a corpus may be larger than memory. Each has a name that never changes:
its file's relative path, with the number of its line or row (from 1) where a file holds many.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from thinwire.data.config import HUGGING_FACE, DataConfig
from thinwire.errors import MissingExtra, UserError

RECORD_SUFFIXES = (".jsonl", ".parquet")
MAX_DOCUMENT_BYTES = 1 << 28
"""A document is held in memory whole, some four times over; a longer one is refused."""

Texts = Iterator[tuple[str, str | None]]
"""(name, text), the text None where it cannot be learnt: binary, or no valid Unicode."""


def holds_records(path: Path) -> bool:
    """Whether a file holds many documents."""
    return path.name.endswith(RECORD_SUFFIXES)


def file_texts(name: str, path: Path, field: str) -> Texts:
    """The documents of one file. Raises `UserError` naming file and line when it cannot be read."""
    read = {".jsonl": _jsonl, ".parquet": _parquet}.get(path.suffix, _whole)
    try:
        yield from read(name, path, field)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error}); make it readable or move it away"
        ) from None


def _whole(name: str, path: Path, _field: str) -> Texts:
    with open(path, "rb") as file:
        content = file.read(MAX_DOCUMENT_BYTES + 1)
    _check_length(len(content), str(path))
    yield name, _decoded(content)


def _check_length(n_bytes: int, where: str) -> None:
    if n_bytes > MAX_DOCUMENT_BYTES:
        raise UserError(
            f"{where} is a document of more than {MAX_DOCUMENT_BYTES >> 20} MiB; split it into several, or leave it out"
        )


def _decoded(content: bytes) -> str | None:
    """Text with its newlines unchanged, None for binary content (a NUL, or no valid UTF-8)."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _jsonl(name: str, path: Path, field: str) -> Texts:
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(2 * MAX_DOCUMENT_BYTES + 2):
            number += 1
            _check_length(len(line) // 2, f"{path}:{number}")  # an escape takes more bytes than what it stands for
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}:{number} is no JSON ({error}); correct the line or remove it") from None
            yield f"{name}:{number}", _text(record, field, f"{path}:{number}")


def _parquet(name: str, path: Path, field: str) -> Texts:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("reading .parquet needs pyarrow", "hf", "pyarrow") from None
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


def data_set_texts(source: str, config: DataConfig) -> Texts:
    """The rows of a Hugging Face data set, streamed. Raises `UserError` when it is not there or cannot be read."""
    try:
        from datasets.exceptions import DatasetsError
    except ImportError:
        raise MissingExtra("a Hugging Face data set needs datasets", "hf", "datasets") from None
    try:
        for number, row in enumerate(_rows(source.removeprefix(HUGGING_FACE), config), 1):
            yield f"{number}", _text(dict(row), config.text_field, f"{source} row {number}")
    except UserError:
        raise
    except (OSError, ValueError, DatasetsError) as error:
        raise UserError(
            f"{source} cannot be read ({error}); data.source names the set, data.subset and data.split its parts"
        ) from None


def _rows(name: str, config: DataConfig) -> Iterable[Any]:
    """Rows of a data set of the hub or of a folder, be it one that `save_to_disk` wrote or one of files."""
    from datasets import DatasetDict, load_dataset, load_from_disk

    folder = Path(name).expanduser()
    if not any((folder / written).is_file() for written in ("state.json", "dataset_dict.json")):
        return load_dataset(name, config.subset or None, split=config.split, streaming=True)
    found = load_from_disk(str(folder))
    if not isinstance(found, DatasetDict):
        return found
    if config.split not in found:
        raise UserError(
            f"hf:{name} has no split {config.split}; there are: {', '.join(map(str, found))}; set data.split"
        )
    return found[config.split]


def limited(texts: Texts, n: int) -> Texts:
    """The first `n`; all of them for 0."""
    return islice(texts, n or None)


def _text(record: Any, field: str, where: str) -> str | None:
    """The text of one record, None where it is no text that can be learnt."""
    if not isinstance(record, dict) or field not in record:
        _refuse(field, list(record) if isinstance(record, dict) else [], where)
    text = record[field]
    if text is None:
        return None
    if not isinstance(text, str):
        raise UserError(f"{where}: {field} holds {type(text).__name__}, not text; set data.text_field to another")
    _check_length(len(text), where)
    return text if _is_encodable(text) and "\0" not in text else None


def _is_encodable(text: str) -> bool:
    """Whether a text is valid Unicode: JSON may hold halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(field: str, there: list[str], where: str) -> NoReturn:
    listed = f"; there are: {', '.join(map(str, there))}" if there else ""
    raise UserError(f"{where} has no field {field}{listed}; set data.text_field to the one that holds the text")
