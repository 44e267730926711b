"""Tensors on disk: safetensors, no pickle."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from thinwire.errors import CorruptFile
from thinwire.storage.files import read_sealed


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors: to a temporary name, flushed, then renamed. Raises `OSError` as any file does."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, temporary)
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
    """Tensors of one file of a sealed directory.

    Raises `MissingFile` or `CorruptFile`, also for a single flipped byte.
    """
    try:
        return load(read_sealed(directory, name))
    except SafetensorError as error:
        raise CorruptFile(f"{directory / name} is no safetensors file ({error}); make it again") from None
