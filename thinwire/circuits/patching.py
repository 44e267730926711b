"""Activations recorded in one forward pass and put into another.

Source: interchange interventions, Geiger et al. 2021. The two sides of a pair need opposite answers and have equally
many tokens: a node's activations on one side can stand in the place of those on the other, position by position.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Edges, Hook, identity
from thinwire.model.sites import PATTERN

Activations = dict[str, Tensor]
"""Node site -> (P, T, width); `final` -> (P, width), for it is computed at the last token alone."""


def recorder(seen: Activations) -> Hook:
    """The hook that keeps every site's activations in `seen`, RMSNorm scales too, and changes nothing."""

    def hook(site: str, x: Tensor) -> Tensor:
        if not site.endswith(PATTERN):
            seen[site] = x
        return x

    return hook


def record(
    model: GPT, prompts: Prompts, hook: Hook = identity, edges: Edges | None = None
) -> tuple[Activations, Tensor]:
    """(activations after `hook`, logit difference (P)) of one pass over the prompts, differentiable."""
    seen: Activations = {}
    keep = recorder(seen)
    difference = logit_difference(model, prompts, lambda site, x: keep(site, hook(site, x)), edges)
    return seen, difference


def token_rows(seen: Activations, prompts: Prompts) -> Activations:
    """One row for every token of the prompts, padding left out; of what is computed at last tokens alone, these."""
    return {site: x if x.ndim == 2 else x[prompts.inside] for site, x in seen.items()}


def other_side(seen: Activations, n_pairs: int) -> Activations:
    """Each prompt's activations exchanged for those of its pair's other side."""
    return {site: x.roll(n_pairs, 0) for site, x in seen.items()}


def aligned_pairs(prompts: Prompts) -> Int[Tensor, " n"]:
    """Numbers of the pairs whose two sides have equally many tokens."""
    clean, corrupt = prompts.lengths.unflatten(0, (2, -1))
    return (clean == corrupt).nonzero().flatten()


def patch(masks: Mapping[str, Bool[Tensor, "V width"]], values: Mapping[str, Tensor]) -> Hook:
    """Row r of a batch of V x P rows has the channels of mask r // P replaced by those of row r % P of `values`, or by
    theirs where `values` has one for each channel."""

    def hook(site: str, x: Tensor) -> Tensor:
        if site not in masks:
            return x
        mask = masks[site]
        shaped = x.unflatten(0, (len(mask), -1))
        mask = mask.reshape(len(mask), *[1] * (shaped.ndim - 2), -1)
        return torch.where(mask, values[site], shaped).flatten(0, 1)

    return hook
