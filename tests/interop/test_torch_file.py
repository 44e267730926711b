"""A file of torch.save is data, never a program."""

import io
import os
import zipfile
from pathlib import Path

import pytest
import torch

from thinwire.errors import UserError
from thinwire.interop.torch_file import read_state_dict


class Hostile:
    """Whoever unpickles it writes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return os.system, (f"touch {self.proof}",)


def test_tensors_come_back_and_stay_in_the_file(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 4), "b": torch.randn(5).half(), "tied": torch.ones(2)}
    tensors["twin"] = tensors["tied"]
    torch.save(tensors, tmp_path / "x.pt")
    found = read_state_dict(tmp_path / "x.pt")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_code_in_the_file_is_not_run(tmp_path: Path) -> None:
    path, proof = tmp_path / "hostile.pt", tmp_path / "proof"
    for content in ({"a": Hostile(proof)}, Hostile(proof)):
        torch.save(content, path)
        with pytest.raises(UserError, match="holds more than tensors .*; nothing of it was run") as caught:
            read_state_dict(path)
        assert "\n" not in str(caught.value)
    assert not proof.exists()
    torch.load(path, weights_only=False)  # what the test would catch
    assert proof.exists()


def test_a_file_that_is_cut_short_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": torch.randn(100, 100)}, path)
    whole = path.read_bytes()
    for content in (whole[:-1000], whole[: len(whole) // 2], b"", b"not a checkpoint"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="cut short or no file of torch.save"):
            read_state_dict(path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme", "a zip of something else")
    path.write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="is damaged or holds more than tensors"):
        read_state_dict(path)
    with pytest.raises(UserError, match="is missing"):
        read_state_dict(tmp_path / "nowhere.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "holds no state dict"),
        ({1: torch.ones(2)}, "holds no state dict"),
        ({"a": 3}, "a is int, no dense tensor"),
        ({"a": torch.ones(2, dtype=torch.float64)}, r"a is torch\.float64, no dense tensor"),
        ({"a": torch.ones(2, dtype=torch.long)}, r"a is torch\.int64"),
        ({"a": torch.eye(3).to_sparse()}, "a is .*no dense tensor"),
        ({"a": torch.ones(1).expand(1000, 1000)}, "a is a view with gaps"),
        ({"a": torch.tensor([1.0, float("nan")])}, "a has entries that are NaN or infinite"),
        ({"a": torch.tensor([float("-inf")])}, "a has entries that are NaN or infinite"),
    ],
)
def test_anything_but_finite_dense_floats_is_refused(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(UserError, match=message):
        read_state_dict(tmp_path / "x.pt")
