"""Tensors on disk: safetensors, no pickle; those that are mostly zeros by their entries alone, if that is asked for."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from thinwire.errors import CorruptFile
from thinwire.storage.files import read_sealed
from thinwire.storage.sparse_tensors import pack, unpack


def write_tensors(path: Path, tensors: Mapping[str, Tensor], sparse: bool = False) -> None:
    """Write tensors as safetensors: to a temporary name, flushed, then renamed. Raises `OSError` as any file does.

    `sparse` stores those that are mostly zeros by their entries (`storage.sparse_tensors`); they are read back dense.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    stored, metadata = pack(tensors) if sparse else (tensors, None)
    try:
        save_file({name: t.detach().cpu().contiguous() for name, t in stored.items()}, temporary, metadata)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except SafetensorError as error:
        if found := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def read_tensors(directory: Path, name: str) -> dict[str, Tensor]:
    """Tensors of one file of a sealed directory, dense.

    Raises `MissingFile` or `CorruptFile`, also for a single flipped byte.
    """
    content = read_sealed(directory, name)
    try:
        stored = load(content)
    except SafetensorError as error:
        raise CorruptFile(f"{directory / name} is no safetensors file ({error}); make it again") from None
    return unpack(stored, _metadata(content), str(directory / name))


def _metadata(content: bytes) -> dict[str, str]:
    """Of a safetensors file: eight bytes with the length of its header, then the header, JSON."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header.get("__metadata__", {})
