"""A safetensors file read one tensor at a time, so that no more than one is held whole.

8 bytes                the length of the header, little-endian
header                 JSON: {"NAME": {"dtype", "shape", "data_offsets"}, "__metadata__": {"KEY": "TEXT"}}
the rest               every tensor's bytes, at its offsets
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from thinwire.errors import CorruptFile
from thinwire.storage.records import Count, convert, parse_json

METADATA = "__metadata__"
MAX_HEADER = 100_000_000
"""Bytes; the bound of the format's own library."""
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "U32": torch.uint32}
"""What weights are stored in (`storage.sparse_tensors`)."""


@dataclass(frozen=True)
class _Place:
    """Where a tensor lies."""

    dtype: Literal["F32", "F16", "U32"]
    shape: list[Count]
    data_offsets: tuple[Count, Count]


@dataclass(frozen=True)
class _Header:
    metadata: dict[str, str]
    tensors: dict[str, _Place]


class TensorFile(Mapping[str, Tensor]):
    """The tensors of an open file, each read when it is asked for. Raises `CorruptFile` naming `where`."""

    def __init__(self, file: BufferedReader, where: Path) -> None:
        self._file, self._where = file, where
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if length > min(MAX_HEADER, size - 8):
            raise CorruptFile(f"{where} is no safetensors file (its header is cut off); make it again")
        what = f"the header of {where}"
        values = parse_json(file.read(length), what)
        if not isinstance(values, dict):
            raise CorruptFile(f"{what} names no tensors; make it again")
        header = convert(_Header, {"metadata": values.pop(METADATA, {}), "tensors": values}, what)
        self.metadata, self._places, self._start = header.metadata, header.tensors, 8 + length
        for name, place in self._places.items():
            begin, end = place.data_offsets
            n_bytes = math.prod(place.shape) * _DTYPES[place.dtype].itemsize
            if end - begin != n_bytes or self._start + end > size:
                raise CorruptFile(f"{what} says of {name} what the file does not hold; make it again")

    def __getitem__(self, name: str) -> Tensor:
        place = self._places[name]
        tensor = torch.empty(place.shape, dtype=_DTYPES[place.dtype])
        self._file.seek(self._start + place.data_offsets[0])
        if self._file.readinto(tensor.numpy().data) != tensor.nbytes:
            raise CorruptFile(f"{self._where} became shorter while it was read; restore it")
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
