"""Weights read by their nonzeros: what `read_tensors` gives, in a form that takes less room."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from thinwire.errors import CorruptFile, MissingFile
from thinwire.storage.files import seal
from thinwire.storage.sparse_tensors import Nonzeros
from thinwire.storage.tensors import read_nonzeros, read_tensors, write_tensors

NAME = "m.safetensors"


def odd_tensors() -> dict[str, Tensor]:
    """Of every kind: mostly zeros, none, all zeros, without entries, without dimensions, exact in half precision."""
    generator = torch.Generator().manual_seed(0)
    few = torch.randn(40, 30, generator=generator) * (torch.rand(40, 30, generator=generator) < 0.05)
    return {
        "few.weight": few,
        "all": torch.randn(7, generator=generator),
        "zeros": torch.zeros(5, 3),
        "empty": torch.zeros(0, 3),
        "one": torch.tensor(1.5),
        "half": torch.eye(9) * 0.5,
    }


@pytest.mark.parametrize("sparse", [False, True])
def test_nonzeros_are_the_tensors(tmp_path: Path, sparse: bool) -> None:
    write_tensors(tmp_path / NAME, odd_tensors(), sparse=sparse)
    seal(tmp_path, [NAME])
    found, expected = read_nonzeros(tmp_path, NAME), read_tensors(tmp_path, NAME)
    assert found.keys() == expected.keys() == odd_tensors().keys()
    for name, tensor in expected.items():
        again = found[name]
        dense = again.dense() if isinstance(again, Nonzeros) else again
        assert dense.dtype == tensor.dtype and dense.shape == tensor.shape and torch.equal(dense, tensor)
    assert {name for name, tensor in found.items() if isinstance(tensor, Nonzeros)} == {"few.weight", "zeros", "half"}


def test_a_changed_bit_and_a_missing_file_are_found(tmp_path: Path) -> None:
    write_tensors(tmp_path / NAME, odd_tensors())
    seal(tmp_path, [NAME])
    content = bytearray((tmp_path / NAME).read_bytes())
    content[-1] ^= 1
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(CorruptFile, match="m.safetensors does not match its checksum"):
        read_nonzeros(tmp_path, NAME)
    with pytest.raises(MissingFile, match="other.safetensors is missing"):
        read_nonzeros(tmp_path, "other.safetensors")


def header(**changed: Any) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changed}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "its header is cut off"),
        (struct.pack("<Q", 1 << 60) + b"{}", "its header is cut off"),
        (struct.pack("<Q", 2) + b"[]", "names no tensors"),
        (struct.pack("<Q", 2) + b"{x", "is not valid JSON"),
        (header(dtype="I64"), "tensors.*dtype: unknown value 'I64'"),
        (header(shape=[3]), "says of w what the file does not hold"),
        (header(data_offsets=[8, 16]), "says of w what the file does not hold"),
        (header(data_offsets=[-8, 0]), "data_offsets"),
        (header(extra=1), "unknown keys: tensors.w.extra"),
        (header() | {"__metadata__": {"sparse": '{"v": [4]}'}}, "lacks a part of v"),
        (header() | {"__metadata__": {"sparse": 3}}, "expected str, got int"),
    ],
)
def test_files_that_are_none_are_refused(tmp_path: Path, content: bytes | dict[str, Any], message: str) -> None:
    if isinstance(content, dict):
        words = json.dumps(content).encode()
        content = struct.pack("<Q", len(words)) + words + bytes(8)
    (tmp_path / NAME).write_bytes(content)
    seal(tmp_path, [NAME])
    with pytest.raises(CorruptFile, match=message):
        read_nonzeros(tmp_path, NAME)
