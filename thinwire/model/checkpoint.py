"""Weights on disk: safetensors, no pickle, and a fingerprint that any storage of the same weights shares."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from thinwire.errors import CorruptFile
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.storage import read_sealed


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


def fingerprint(model: GPT) -> str:
    """sha256 over the canonical weights: names sorted, each with its shape and its dense float32 values.

    -0.0 counts as 0.0, so that sparse storage, which keeps no zeros, gives the same value.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        dense = value.detach().to("cpu", torch.float32) + 0.0
        digest.update(f"{name} {list(dense.shape)}\n".encode())
        digest.update(dense.contiguous().numpy().tobytes())
    return digest.hexdigest()


def load_model(config: ModelConfig, tensors: Mapping[str, Tensor], where: str) -> GPT:
    """A GPT with the given weights.

    Raises `CorruptFile` naming `where` when names or shapes do not fit `config`.
    """
    with torch.device("meta"):
        model = GPT(config)
    try:
        model.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        detail = " ".join(str(error).split())
        raise CorruptFile(f"{where} does not fit its config.yaml: {detail}") from None
    return model
