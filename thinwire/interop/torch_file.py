"""State dicts of `torch.save`: read as tensors alone, mapped into memory, so that no code in them can run."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thinwire.errors import UserError

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
ROWS = 1 << 22
"""Entries that are checked at a time."""


def load_plain(path: Path) -> Any:
    """What a file of `torch.save` holds: tensors, numbers, texts, lists and dicts, mapped into memory.

    Raises `UserError` for a file that is missing, cut short, of another kind, or that holds anything else; code in it
    is not run.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; give the folder that holds it")
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is cut short or no file of torch.save (a zip since torch 1.6); fetch it again")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # noqa: BLE001 - a hostile file can raise anything
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise UserError(f"{path} is damaged or holds more than tensors ({reason}); nothing of it was run") from None


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Name -> tensor of finite float32, float16 or bfloat16, backed by the file.

    Raises `UserError` as `load_plain` does, and for a tensor of another kind.
    """
    state = load_plain(path)
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise UserError(f"{path} holds no state dict; save model.state_dict() with torch.save")
    for name, tensor in state.items():
        check_tensor(tensor, f"{path}: {name}")
    return state


def write_state_dict(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write what other people's loaders read; our own files are safetensors."""
    torch.save({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def check_tensor(tensor: object, what: str) -> None:
    """Raises `UserError` naming `what` unless it is a dense tensor of finite float32, float16 or bfloat16."""
    if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided or tensor.dtype not in FLOATS:
        kind = str(tensor.dtype) if isinstance(tensor, Tensor) else type(tensor).__name__
        raise UserError(f"{what} is {kind}, no dense tensor of float32, float16 or bfloat16")
    if not tensor.is_contiguous():
        raise UserError(f"{what} is a view with gaps; save it with .contiguous()")
    for part in tensor.view(-1).split(ROWS):
        if not bool(torch.isfinite(part).all()):
            raise UserError(f"{what} has entries that are NaN or infinite; no model can be made of it")
