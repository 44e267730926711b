"""Circuits that others published, as sets of our nodes. Three kinds of file:

    .json    hook name -> list of channels, such as {"0.attn.act_in": [3, 7]}; names are those of the released code,
             TransformerLens' (blocks.0.ln1.hook_normalized) or ours (0.attn.in)
    .pt      what the released viewer loads (viz_data.pt): the same lists as tensors, under `circuit_data`
    .pt      what sparse_pretrain stores (circuit_mask.pt, masks.pt): `layer0_attn_in` -> one number per channel

In the last kind a channel is kept where its number is 0 or more in masks.pt (a gate's parameter), above 0 in a file of
ones and zeros. Neither code prunes what the embedding writes, the residual stream itself or what the unembedding
reads: all nodes of such sites are kept, unless a file lists some of them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thinwire.errors import UserError
from thinwire.interop.openai import HOOKS
from thinwire.interop.sparse_pretrain import SITES as PLACES
from thinwire.interop.torch_file import load_plain
from thinwire.model.names import site_named
from thinwire.model.nodes import NodeSpace
from thinwire.model.sites import EMBED, FINAL, LAYER_SITES, RESIDUAL_SITES, part_of
from thinwire.storage.files import read_json

NODE_PARTS = (*LAYER_SITES, *RESIDUAL_SITES)
TOKENS = "token_embed"
"""sparse_pretrain may prune tokens as well."""


def read_nodes(path: Path, space: NodeSpace) -> dict[str, list[int]]:
    """Site -> channels, ascending.

    Raises `UserError` naming `path` for a file of another kind, a hook that is no site here, or a channel that the
    model lacks.
    """
    values = read_json(path) if path.suffix == ".json" else load_plain(path)
    if isinstance(values, dict) and isinstance(values.get("circuit_data"), dict):
        values = values["circuit_data"]
    if not isinstance(values, dict) or not values:
        raise UserError(f"{path} holds no circuit: hook names with channels, or one mask for each site")
    masks = any(re.fullmatch(r"layer\d+_\w+", str(name)) for name in values)
    found = dict(_from_masks(values, path) if masks else _from_hooks(values, path))
    nodes = {site: sorted(channels) for site, channels in found.items() if channels}
    space.check(nodes)
    whole = {site: list(space.everything()[site]) for site in space.sites if _is_unpruned(site) and site not in found}
    return nodes | whole


def _is_unpruned(site: str) -> bool:
    return part_of(site) in (EMBED, FINAL, *RESIDUAL_SITES)


def _from_hooks(values: Mapping[Any, Any], path: Path) -> Iterator[tuple[str, Sequence[int]]]:
    for name, channels in values.items():
        site = _site_of(str(name))
        if site is None:
            raise UserError(f"{path}: {str(name):.60} is no hook of the released code whose channels are nodes here")
        channels = channels.tolist() if isinstance(channels, Tensor) else channels
        if not isinstance(channels, list) or not all(type(channel) is int for channel in channels):
            raise UserError(f"{path}: {name} has no list of channels")
        if len(set(channels)) < len(channels):
            raise UserError(f"{path}: {name} names a channel twice")
        yield site, channels


def _site_of(name: str) -> str | None:
    """Our site of a hook of the released code, of TransformerLens or of our own."""
    found = re.fullmatch(r"(\d+)\.(\w+\.\w+)", name)
    if found and found[2] in HOOKS:
        return f"{found[1]}.{HOOKS[found[2]]}"
    site = site_named(name)
    known = site in (EMBED, FINAL) or re.fullmatch(r"\d+\.\w+\.\w+", site) and part_of(site) in NODE_PARTS
    return site if known else None


def _from_masks(values: Mapping[Any, Any], path: Path) -> Iterator[tuple[str, Sequence[int]]]:
    ones = all(isinstance(mask, Tensor) and bool(((mask == 0) | (mask == 1)).all()) for mask in values.values())
    for name, mask in values.items():
        if not isinstance(mask, Tensor) or mask.ndim != 1:
            raise UserError(f"{path}: {str(name):.60} is no mask of channels")
        kept = mask > 0 if ones else mask >= 0
        if name == TOKENS and bool(kept.all()):
            continue
        found = re.fullmatch(r"layer(\d+)_(\w+)", str(name))
        if not found or found[2] not in PLACES:
            raise UserError(f"{path}: {str(name):.60} is no set of nodes here")
        yield f"{found[1]}.{PLACES[found[2]]}", torch.nonzero(kept).flatten().tolist()
