"""Tensors in little room, and back to the last bit: 8 bytes for each float32 that is not zero, 6 where half will do.

    NAME.indices    uint32, ascending places in the flattened tensor
    NAME.values     the entries there
    metadata        sparse: {"NAME": shape}, halved: ["NAME", "NAME.values"], as JSON

A tensor that would not become smaller by its places is kept whole, under NAME. A float32 tensor, or its values, whose
every entry half precision holds exactly is stored in it. Zeros of what is stored by places lose their sign.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor

from thinwire.errors import CorruptFile
from thinwire.storage.records import Count, convert, parse_json

INDICES, VALUES = ".indices", ".values"
MOST_ENTRIES = 1 << 32
"""Places are uint32."""


@dataclass(frozen=True)
class Packing:
    """How tensors are stored: the metadata beside them, each value as JSON."""

    sparse: dict[str, list[Count]] = field(default_factory=dict)
    """Shapes of those that are stored by places."""
    halved: list[str] = field(default_factory=list)
    """What was float32."""

    @classmethod
    def of(cls, metadata: Mapping[str, str], where: str) -> "Packing":
        """Raises `CorruptFile` naming `where`."""
        known = {name: metadata[name].encode() for name in ("sparse", "halved") if name in metadata}
        what = f"the header of {where}"
        return convert(cls, {name: parse_json(value, what) for name, value in known.items()}, what)

    @property
    def metadata(self) -> dict[str, str]:
        return {name: json.dumps(value) for name, value in asdict(self).items()}


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
    halved = [name for name, tensor in stored.items() if fits_half(tensor)]
    stored |= {name: stored[name].half() for name in halved}
    return stored, Packing(shapes, halved).metadata


def fits_half(tensor: Tensor) -> bool:
    """Whether a float32 tensor is the same in half precision."""
    return tensor.dtype == torch.float32 and tensor.equal(tensor.half().float())


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
    packing = Packing.of(metadata, where)
    stored = {name: tensor.float() if name in packing.halved else tensor for name, tensor in stored.items()}
    parts = {name + end for name in packing.sparse for end in (INDICES, VALUES)}
    dense = {name: tensor for name, tensor in stored.items() if name not in parts}
    for name, shape in packing.sparse.items():
        if name + INDICES not in stored or name + VALUES not in stored:
            raise CorruptFile(f"{where} lacks a part of {name}; make it again")
        dense[name] = _whole(stored[name + INDICES], stored[name + VALUES], shape, f"{where}: {name}")
    return dense


def _whole(indices: Tensor, values: Tensor, shape: list[int], what: str) -> Tensor:
    places = torch.from_numpy(indices.numpy().astype(np.int64))
    if math.prod(shape) > MOST_ENTRIES:
        raise CorruptFile(f"{what} has a shape of more than {MOST_ENTRIES} entries; make it again")
    tensor = torch.zeros(shape, dtype=values.dtype)
    inside = not len(places) or (places[0] >= 0 and places[-1] < tensor.numel() and bool((places.diff() > 0).all()))
    if len(places) != len(values) or not inside:
        raise CorruptFile(f"{what} has places that are not ascending within its shape; make it again")
    tensor.view(-1)[places] = values
    return tensor
