"""An optimizer's tensors as a checkpoint holds them, checked before training goes on with them."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from thinwire.errors import CorruptFile

_AGAIN = "resume from another checkpoint"


def moments_of(tensors: Mapping[str, Tensor], name: str, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(first, second) moments of a parameter, float32, of `shape`.

    Raises `CorruptFile` when they are missing, of another shape or type, not finite, or a second one is negative.
    """
    if f"m.{name}" not in tensors or f"v.{name}" not in tensors:
        raise CorruptFile(f"optimizer.safetensors holds no moments of {name}; {_AGAIN}")
    m, v = (stored(tensors, f"{kind}.{name}", shape) for kind in "mv")
    if bool((v < 0).any()):
        raise CorruptFile(f"optimizer.safetensors: v.{name} holds negative numbers; {_AGAIN}")
    return m, v


def stored(
    tensors: Mapping[str, Tensor], name: str, shape: Sequence[int], dtype: torch.dtype = torch.float32
) -> Tensor:
    """One tensor that must be there. Raises `CorruptFile` for another shape or type, or numbers that are not finite."""
    tensor = tensors[name]
    if tensor.dtype != dtype or list(tensor.shape) != list(shape):
        found = f"{tensor.dtype} {list(tensor.shape)}"
        raise CorruptFile(f"optimizer.safetensors: {name} is {found}, not {dtype} {list(shape)}; {_AGAIN}")
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        raise CorruptFile(f"optimizer.safetensors: {name} holds numbers that are not finite; {_AGAIN}")
    return tensor


def entries_of(tensors: Mapping[str, Tensor], name: str, size: int) -> Tensor | None:
    """Positions of the entries of a matrix that are stored, ascending; None where all are. Raises `CorruptFile`."""
    if (found := tensors.get(f"entries.{name}")) is None:
        return None
    whole = found.dtype == torch.int64 and found.dim() == 1
    if not whole or bool((found.diff() <= 0).any()) or bool(((found < 0) | (found >= size)).any()):
        raise CorruptFile(f"optimizer.safetensors: entries.{name} are no places of its matrix; {_AGAIN}")
    return found
