"""A model from its weights, and the fingerprint that any storage of the same weights shares."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from thinwire.errors import CorruptFile
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT


def fingerprint(model: GPT) -> str:
    """`fingerprint_of` a model's weights."""
    return fingerprint_of(model.state_dict())


def fingerprint_of(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over the canonical weights: names sorted, each with its shape and its dense float32 values.

    -0.0 counts as 0.0, so that sparse storage, which keeps no zeros, gives the same value.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):  # each is asked for once: it may be made then
        dense = tensors[name].detach().to("cpu", torch.float32) + 0.0
        digest.update(f"{name} {list(dense.shape)}\n".encode())
        digest.update(dense.contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_finite(tensors: Mapping[str, Tensor], where: Path | str) -> None:
    """Raises `CorruptFile` naming `where` and the tensor for anything but finite float32 numbers."""
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            raise CorruptFile(f"{where}: {name} holds {tensor.dtype}, not torch.float32; make it again")
        if not bool(tensor.isfinite().all()):
            raise CorruptFile(f"{where}: {name} holds numbers that are not finite; make it again")


def load_model(config: ModelConfig, tensors: Mapping[str, Tensor], where: str) -> GPT:
    """A GPT with the given weights.

    Raises `CorruptFile` naming `where` when names or shapes do not fit `config`, or a weight is no finite float32.
    """
    check_finite(tensors, where)
    with torch.device("meta"):
        model = GPT(config)
    try:
        model.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise CorruptFile(f"{where} does not fit its config.yaml: {detail}") from None
    return model
