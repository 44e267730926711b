"""Tensors in little room, and back to the last bit: 8 bytes for each float32 that is not zero, 6 where half will do.

    NAME.indices    uint32, ascending places in the flattened tensor
    NAME.values     the entries there
    metadata        sparse: {"NAME": shape}, halved: ["NAME", "NAME.values"], as JSON

A tensor that would not become smaller by its places is kept whole, under NAME. A float32 tensor, or its values, whose
every entry half precision holds exactly is stored in it. Zeros of what is stored by places lose their sign.
"""

import json
import math
from collections.abc import Iterator, Mapping
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
class Nonzeros:
    """A tensor by its entries that are not zero."""

    shape: tuple[int, ...]
    places: np.ndarray
    """uint32, ascending, in the flattened tensor."""
    values: Tensor
    """The entries there."""

    @classmethod
    def of(cls, tensor: Tensor) -> "Nonzeros":
        """Raises `ValueError` for more than 2^32 entries."""
        if tensor.numel() > MOST_ENTRIES:
            raise ValueError(f"a tensor of {tensor.numel()} entries; places are uint32")
        flat = tensor.detach().cpu().reshape(-1)
        places = flat.nonzero().flatten()
        return cls(tuple(tensor.shape), places.numpy().astype(np.uint32), flat[places])

    def dense(self) -> Tensor:
        """All of it."""
        tensor = torch.zeros(self.shape, dtype=self.values.dtype)
        tensor.view(-1)[torch.from_numpy(self.places.astype(np.int64))] = self.values
        return tensor


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
        found = sparser(tensor)
        if isinstance(found, Nonzeros):
            shapes[name] = list(found.shape)
            stored[name + INDICES], stored[name + VALUES] = torch.from_numpy(found.places), found.values
        else:
            stored[name] = tensor
    assert len(stored) == len(tensors) + len(shapes), "a tensor has the name of another one's part"
    halved = [name for name, tensor in stored.items() if fits_half(tensor)]
    stored |= {name: stored[name].half() for name in halved}
    return stored, Packing(shapes, halved).metadata


def fits_half(tensor: Tensor) -> bool:
    """Whether a float32 tensor is the same in half precision."""
    return tensor.dtype == torch.float32 and tensor.equal(tensor.half().float())


def sparser(tensor: Tensor) -> Tensor | Nonzeros:
    """The nonzeros of a tensor, or itself where these take no less room."""
    n_nonzero = int(tensor.count_nonzero())
    if n_nonzero * (tensor.element_size() + 4) >= tensor.nbytes or tensor.numel() > MOST_ENTRIES:
        return tensor
    return Nonzeros.of(tensor)


def unpack(stored: Mapping[str, Tensor], metadata: Mapping[str, str], where: str) -> dict[str, Tensor]:
    """Inverse of `pack`, dense. Raises `CorruptFile` naming `where` when the parts of a tensor do not fit together."""
    found = unpack_each(stored, metadata, where)
    return {name: tensor.dense() if isinstance(tensor, Nonzeros) else tensor for name, tensor in found}


def unpack_each(
    stored: Mapping[str, Tensor], metadata: Mapping[str, str], where: str
) -> Iterator[tuple[str, Tensor | Nonzeros]]:
    """Each name and what was packed: a tensor that is stored by places stays as it is. Raises as `unpack` does.

    Every part of `stored` is asked for once, when its turn comes.
    """
    packing = Packing.of(metadata, where)

    def part(name: str) -> Tensor:
        return stored[name].float() if name in packing.halved else stored[name]

    parts = {name + end for name in packing.sparse for end in (INDICES, VALUES)}
    yield from ((name, part(name)) for name in stored if name not in parts)
    for name, shape in packing.sparse.items():
        if name + INDICES not in stored or name + VALUES not in stored:
            raise CorruptFile(f"{where} lacks a part of {name}; make it again")
        yield name, _checked(part(name + INDICES), part(name + VALUES), shape, f"{where}: {name}")


def _checked(indices: Tensor, values: Tensor, shape: list[int], what: str) -> Nonzeros:
    if math.prod(shape) > MOST_ENTRIES:
        raise CorruptFile(f"{what} has a shape of more than {MOST_ENTRIES} entries; make it again")
    places = indices.numpy().astype(np.int64)
    inside = not len(places) or (places[0] >= 0 and places[-1] < math.prod(shape) and bool((np.diff(places) > 0).all()))
    if places.ndim != 1 or places.shape != tuple(values.shape) or not inside:
        raise CorruptFile(f"{what} has places that are not ascending within its shape; make it again")
    return Nonzeros(tuple(shape), places.astype(np.uint32), values)
