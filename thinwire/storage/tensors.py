"""Tensors on disk: safetensors, no pickle."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from thinwire.errors import CorruptFile
from thinwire.storage.files import open_sealed, read_sealed
from thinwire.storage.records import parse_json
from thinwire.storage.sparse_tensors import Nonzeros, pack, sparser, unpack, unpack_each
from thinwire.storage.temporary import temporary_file
from thinwire.storage.tensor_file import METADATA, TensorFile


def write_tensors(path: Path, tensors: Mapping[str, Tensor], sparse: bool = False) -> None:
    """Write tensors as safetensors: to a temporary name, flushed, then renamed. Raises `OSError` as any file does.

    `sparse` stores those that are mostly zeros by their entries (`storage.sparse_tensors`); they are read back dense.
    Whoever can read the files beside it can read the file.
    """
    stored, metadata = pack(tensors) if sparse else (tensors, None)
    with temporary_file(path) as (made, temporary):
        mode = os.fstat(made.fileno()).st_mode & 0o777
        try:
            save_file({name: t.detach().cpu().contiguous() for name, t in stored.items()}, temporary, metadata)
        except SafetensorError as error:
            if found := re.search(r"os error (\d+)", str(error)):
                raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from None
            raise
        with open(temporary, "rb") as file:
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)


def read_tensors(directory: Path, name: str) -> dict[str, Tensor]:
    """Tensors of one file of a sealed directory.

    Raises `MissingFile` or `CorruptFile`, also for a single flipped byte.
    """
    return parse_tensors(read_sealed(directory, name), Path(directory) / name)


def read_nonzeros(directory: Path, name: str) -> dict[str, Tensor | Nonzeros]:
    """The same, those that are mostly zeros by their nonzeros, however they are stored: one at a time is held whole.

    Raises as `read_tensors` does.
    """
    where = Path(directory) / name
    with open_sealed(directory, name) as file:
        stored = TensorFile(file, where)
        found = unpack_each(stored, stored.metadata, str(where))
        return {name: sparser(t) if isinstance(t, Tensor) and t.is_floating_point() else t for name, t in found}


def parse_tensors(content: bytes, where: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file. Raises `CorruptFile` naming `where`."""
    try:
        stored = load(content)
    except SafetensorError as error:
        raise CorruptFile(f"{where} is no safetensors file ({error}); make it again") from None
    return unpack(stored, _metadata(content, where), str(where))


def _metadata(content: bytes, where: Path) -> dict[str, str]:
    """Of a safetensors file: eight bytes with the length of its header, then the header, JSON."""
    header = parse_json(content[8 : 8 + int.from_bytes(content[:8], "little")], f"the header of {where}")
    return header.get(METADATA, {})
