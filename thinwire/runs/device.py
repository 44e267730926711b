"""Where a model computes."""

import os

import torch

from thinwire.errors import UserError


def pick_device(name: str) -> torch.device:
    """The device that `--device auto|cpu|cuda|mps` names. Raises `UserError` when it is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there.get(name):
        usable = ", ".join(kind for kind, is_there in there.items() if is_there)
        raise UserError(f"device '{name}' is not available here; there are: {usable}")
    if name == "cuda" and "LOCAL_RANK" in os.environ:  # one of several processes that torchrun started
        return torch.device(name, int(os.environ["LOCAL_RANK"]))
    return torch.device(name)
