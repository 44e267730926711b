"""Weights on disk come back bit for bit or not at all, and one model has one fingerprint."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from thinwire.errors import CorruptFile, MissingFile
from thinwire.model.checkpoint import fingerprint, load_model
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.storage.files import seal
from thinwire.storage.tensors import read_tensors, write_tensors

CONFIG = ModelConfig(vocab_size=11, context=4, n_layer=1, d_model=8, d_head=4)


def model_of(config: ModelConfig = CONFIG) -> GPT:
    torch.manual_seed(0)
    return GPT(config).requires_grad_(False)


def stored(directory: Path, model: GPT) -> Path:
    write_tensors(directory / "model.safetensors", model.state_dict())
    seal(directory, ["model.safetensors"])
    return directory


def test_weights_come_back_bit_for_bit(tmp_path: Path) -> None:
    model = model_of(replace(CONFIG, sink=True, positions="learned"))
    tensors = read_tensors(stored(tmp_path, model), "model.safetensors")
    again = load_model(model.config, tensors, "here")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert fingerprint(again) == fingerprint(model)
    x = torch.tensor([[1, 2, 3]])
    assert torch.equal(model(x), again(x))


def test_writing_leaves_no_temporary_file(tmp_path: Path) -> None:
    stored(tmp_path, model_of())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.json", "model.safetensors"]


def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path) -> None:
    file = stored(tmp_path, model_of()) / "model.safetensors"
    content = file.read_bytes()
    for place in (0, len(content) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(CorruptFile, match=r"model\.safetensors does not match its checksum"):
            read_tensors(tmp_path, "model.safetensors")
    file.write_bytes(content[:-1])
    with pytest.raises(CorruptFile):
        read_tensors(tmp_path, "model.safetensors")
    file.unlink()
    with pytest.raises(MissingFile, match=r"model\.safetensors is missing"):
        read_tensors(tmp_path, "model.safetensors")


def test_a_sealed_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not weights at all")
    seal(tmp_path, ["model.safetensors"])
    with pytest.raises(CorruptFile, match="is no safetensors file"):
        read_tensors(tmp_path, "model.safetensors")


@pytest.mark.parametrize(
    ("change", "named"),
    [({"d_model": 12}, "embed.weight"), ({"n_layer": 2}, "blocks.1"), ({"bigram": False}, "bigram")],
)
def test_weights_of_another_shape_are_refused(change, named: str) -> None:
    with pytest.raises(CorruptFile, match=r"here does not fit its config\.yaml") as error:
        load_model(replace(CONFIG, **change), model_of().state_dict(), "here")
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_the_fingerprint_does_not_depend_on_how_weights_are_stored() -> None:
    """Order, strides, and the sign of a zero are storage; sparse storage keeps no zeros at all."""
    model, other = model_of(), model_of()
    expected = fingerprint(model)
    model.embed.weight[0, 0] = 0.0
    zero = fingerprint(model)
    model.embed.weight[0, 0] = -0.0
    assert fingerprint(model) == zero != expected
    transposed = {n: v.T.contiguous().T if v.ndim == 2 else v for n, v in reversed(other.state_dict().items())}
    other.load_state_dict(transposed, assign=True)
    assert not other.embed.weight.is_contiguous()
    assert fingerprint(other) == expected
    sparse = {n: v.to_sparse().to_dense() for n, v in model.state_dict().items()}
    assert fingerprint(load_model(CONFIG, sparse, "here")) == zero


def test_the_fingerprint_knows_every_weight() -> None:
    model = model_of()
    before = fingerprint(model)
    for _, parameter in model.named_parameters():
        old = parameter.view(-1)[-1].clone()
        parameter.view(-1)[-1] = torch.nextafter(old, torch.tensor(9.0))
        assert fingerprint(model) != before
        parameter.view(-1)[-1] = old
    assert fingerprint(model) == before


def test_the_fingerprint_is_the_one_that_was_published() -> None:
    """Of weights that no generator draws: circuits name their model by this number, for good."""
    model = model_of()
    for i, (_, parameter) in enumerate(sorted(model.named_parameters())):
        parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) / 64 - i)
    assert fingerprint(model) == "ff8bcbad8f9ce9f0b316a15e74c980c477d5c6c1ca3e39da1d28e7b26af1e5b3"
