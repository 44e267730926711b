"""Activations of one forward pass, by the names of their sites."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from jaxtyping import Int
from torch import Tensor

from thinwire.errors import UserError
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Edges, Hook, identity


@torch.no_grad()
def record(
    model: GPT,
    tokens: Int[Tensor, "B T"],
    sites: Sequence[str] = (),
    hook: Hook = identity,
    edges: Edges | None = None,
) -> dict[str, Tensor]:
    """Site -> what the model goes on with there, `hook` applied: (B, T, width) at a node site.

    `sites` are names or patterns, such as `0.mlp.neuron`, `*.mlp.neuron` or `*.attn.pattern` (heads x T x T); without
    any all node sites are recorded. Raises `UserError` for one that names no place of the model.
    """
    places = model.space.hook_sites
    wanted = set(model.space.sites) if not sites else set()
    for pattern in sites:
        if not (found := [place for place in places if fnmatchcase(place, pattern)]):
            model.space.check_hook_sites([pattern])
            raise UserError(f"{pattern!r} names no place of the model; there are: {', '.join(places)}")
        wanted.update(found)
    recorded: dict[str, Tensor] = {}

    def keep(site: str, x: Tensor) -> Tensor:
        x = hook(site, x)
        if site in wanted:
            recorded[site] = x.detach()
        return x

    model(tokens, keep, edges)
    return recorded
