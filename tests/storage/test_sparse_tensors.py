"""Tensors by their nonzero entries: the same values, the same fingerprint, 8 bytes an entry or 6."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from thinwire.errors import CorruptFile
from thinwire.model.checkpoint import fingerprint_of
from thinwire.storage.files import seal
from thinwire.storage.sparse_tensors import fits_half, pack, unpack
from thinwire.storage.tensors import read_tensors, write_tensors

ODD = [0.0, -0.0, 1.5, -2.0, float("inf"), float("nan"), 1e-45]


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, Tensor]:
    """Of any shape, also none and empty; of any density; with every kind of odd value."""
    found = {}
    for i in range(draw(st.integers(0, 3))):
        shape = draw(st.lists(st.integers(0, 5), max_size=3))
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        kept = rng.uniform(size=shape) < draw(st.sampled_from([0.0, 0.05, 0.3, 1.0]))
        values = np.where(kept, rng.choice(ODD, size=shape), 0.0).astype(np.float32)
        found[f"blocks.{i}.weight"] = torch.from_numpy(np.asarray(values)).reshape(shape)
    return found


def same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a.nan_to_num(7), b.nan_to_num(7))


@given(tensors())
def test_what_is_packed_comes_back_and_has_the_same_fingerprint(dense: dict[str, Tensor]) -> None:
    again = unpack(*pack(dense), "here")
    assert again.keys() == dense.keys()
    assert all(same(again[name], dense[name]) for name in dense)
    assert fingerprint_of(again) == fingerprint_of(dense)


@given(tensors())
def test_an_entry_takes_at_most_eight_bytes_and_never_more_than_the_tensor(dense: dict[str, Tensor]) -> None:
    stored, _ = pack(dense)
    for name, tensor in dense.items():
        size = sum(part.nbytes for key, part in stored.items() if key == name or key.startswith(f"{name}."))
        assert size <= tensor.nbytes
        if f"{name}.values" in stored:
            assert size == (6 if fits_half(tensor) else 8) * int(tensor.count_nonzero())


def test_what_half_precision_holds_takes_half_the_room_and_comes_back_as_it_was(tmp_path: Path) -> None:
    whole = torch.tensor([[0.5, -0.0, 65504.0, 2**-24]])
    odd = torch.tensor([0.5, 0.1])  # 0.1 is rounded otherwise in half precision
    stored, metadata = pack({"whole": whole, "odd": odd, "own": whole.half()})
    assert [stored[name].dtype for name in ("whole", "odd", "own")] == [torch.float16, torch.float32, torch.float16]
    again = unpack(stored, metadata, "here")
    assert all(same(again[name], tensor) for name, tensor in {"whole": whole, "odd": odd, "own": whole.half()}.items())
    assert again["whole"].signbit().tolist() == [[False, True, False, False]]


def test_a_sealed_file_of_mostly_zeros_is_small_and_is_read_as_any_other(tmp_path: Path) -> None:
    # 1 in 256 of 2^20 entries: 4096 x 8 bytes beside 4 MiB.
    weight = torch.zeros(1 << 20)
    weight[::256] = torch.randn(4096)
    dense = {"weight": weight.view(1024, 1024), "gain": torch.ones(3), "half": torch.eye(64).half()}
    write_tensors(tmp_path / "m.safetensors", dense, sparse=True)
    seal(tmp_path, ["m.safetensors"])
    assert 4096 * 8 < (tmp_path / "m.safetensors").stat().st_size < 4096 * 8 + 2048
    assert set(load_file(tmp_path / "m.safetensors")) == {
        "gain", "half.indices", "half.values", "weight.indices", "weight.values",
    }  # fmt: skip
    again = read_tensors(tmp_path, "m.safetensors")
    assert all(same(again[name], dense[name]) for name in dense)
    write_tensors(tmp_path / "m.safetensors", dense)
    seal(tmp_path, ["m.safetensors"])
    assert all(same(value, dense[name]) for name, value in read_tensors(tmp_path, "m.safetensors").items())


@pytest.mark.parametrize(
    "changed",
    [
        {"w.indices": torch.tensor([1, 1], dtype=torch.int64)},
        {"w.indices": torch.tensor([5, 1], dtype=torch.int64)},
        {"w.indices": torch.tensor([1, 100], dtype=torch.int64)},
        {"w.indices": torch.tensor([-1, 3], dtype=torch.int64)},
        {"w.indices": torch.tensor([1], dtype=torch.int64)},
        {"w.values": torch.ones(3)},
        {"w.values": None},
    ],
)
def test_parts_that_do_not_fit_together_are_refused(changed: dict[str, Tensor | None], tmp_path: Path) -> None:
    stored, metadata = pack({"w": torch.zeros(100).index_fill(0, torch.tensor([3, 7]), 1.0)})
    assert stored.keys() == {"w.indices", "w.values"}
    parts = {name: value for name, value in (stored | changed).items() if value is not None}
    save_file(parts, tmp_path / "m.safetensors", metadata)
    seal(tmp_path, ["m.safetensors"])
    with pytest.raises(CorruptFile, match=r"m\.safetensors.* w.*make it again"):
        read_tensors(tmp_path, "m.safetensors")


@pytest.mark.parametrize(
    "metadata",
    [
        {"sparse": "[1"},
        {"sparse": '{"w": [-100]}'},
        {"sparse": '{"w": "100"}'},
        {"sparse": '{"w": [1000000, 1000000]}'},
        {"sparse": '{"w": [100]}', "halved": "{}"},
        {"sparse": '{"w": [100]}', "halved": "[1]"},
    ],
)
def test_metadata_that_say_something_else_are_refused(metadata: dict[str, str], tmp_path: Path) -> None:
    stored, _ = pack({"w": torch.zeros(100).index_fill(0, torch.tensor([3, 7]), 1.0)})
    save_file(stored, tmp_path / "m.safetensors", metadata)
    seal(tmp_path, ["m.safetensors"])
    with pytest.raises(CorruptFile, match=r"m\.safetensors"):
        read_tensors(tmp_path, "m.safetensors")
