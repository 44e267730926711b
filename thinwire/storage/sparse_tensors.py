"""Tensors most of whose entries are zero as entries and their places: 8 bytes for each float32 that is not zero.

    NAME.indices    uint32, ascending places in the flattened tensor
    NAME.values     the entries there
    metadata        sparse: {"NAME": shape}, as JSON

A tensor that would not become smaller by it is kept as it is, under NAME. Zeros lose their sign.
"""

import json
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from thinwire.errors import CorruptFile

SHAPES = "sparse"
INDICES, VALUES = ".indices", ".values"
MOST_ENTRIES = 1 << 32
"""Places are uint32."""


def pack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors to store, metadata to store beside them). `tensors` is gone through once, one tensor at a time."""
    stored: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    for name, tensor in tensors.items():
        parts = _parts(tensor.detach().cpu())
        if parts is None:
            stored[name] = tensor
        else:
            shapes[name] = list(tensor.shape)
            stored[name + INDICES], stored[name + VALUES] = parts
    assert len(stored) == len(tensors) + len(shapes), "a tensor has the name of another one's part"
    return stored, {SHAPES: json.dumps(shapes)}


def _parts(tensor: Tensor) -> tuple[Tensor, Tensor] | None:
    """(indices, values), or None where these take no less room."""
    n_nonzero = int(tensor.count_nonzero())
    if n_nonzero * (tensor.element_size() + 4) >= tensor.nbytes or tensor.numel() > MOST_ENTRIES:
        return None
    flat = tensor.reshape(-1)
    places = flat.nonzero().flatten()
    return torch.from_numpy(places.numpy().astype(np.uint32)), flat[places]


def unpack(stored: Mapping[str, Tensor], metadata: Mapping[str, str], where: str) -> dict[str, Tensor]:
    """Inverse of `pack`, dense. Raises `CorruptFile` naming `where` when the parts of a tensor do not fit together."""
    shapes = json.loads(metadata.get(SHAPES, "{}"))
    parts = {name + end for name in shapes for end in (INDICES, VALUES)}
    dense = {name: tensor for name, tensor in stored.items() if name not in parts}
    for name, shape in shapes.items():
        if name + INDICES not in stored or name + VALUES not in stored:
            raise CorruptFile(f"{where} lacks a part of {name}; make it again")
        dense[name] = _whole(stored[name + INDICES], stored[name + VALUES], shape, f"{where}: {name}")
    return dense


def _whole(indices: Tensor, values: Tensor, shape: list[int], what: str) -> Tensor:
    places = torch.from_numpy(indices.numpy().astype(np.int64))
    tensor = torch.zeros(shape, dtype=values.dtype)
    inside = not len(places) or (places[0] >= 0 and places[-1] < tensor.numel() and bool((places.diff() > 0).all()))
    if len(places) != len(values) or not inside:
        raise CorruptFile(f"{what} has places that are not ascending within its shape; make it again")
    tensor.view(-1)[places] = values
    return tensor
