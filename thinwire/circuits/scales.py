"""RMSNorm scales held at the whole model's values, prompt by prompt.

A norm divides by the size of everything in the residual stream, also of what was ablated. Frozen scales take that
way of acting at a distance from a circuit (a check that the method's critics ask for).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.circuits.prompts import Prompts
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Hook
from thinwire.model.sites import SCALE


@dataclass(frozen=True)
class RecordedScales:
    """RMSNorm scales of one pass over P prompts of T tokens."""

    by_site: Mapping[str, Float[Tensor, "P T 1"]]
    last: Int[Tensor, " P"]
    """Place of each prompt's last token, the only one at which the final norm may be asked for."""


@torch.no_grad()
def record_scales(model: GPT, prompts: Prompts) -> RecordedScales:
    """RMSNorm scales of the whole model at every position of the prompts."""
    scales: dict[str, Tensor] = {}

    def hook(site: str, x: Tensor) -> Tensor:
        if site.endswith(SCALE):
            scales[site] = x
        return x

    model.final(prompts.tokens, hook)
    return RecordedScales(scales, prompts.lengths - 1)


def freeze_scales(scales: RecordedScales) -> Hook:
    """Put recorded scales in place of the ones that a pass over the same prompts has, or over copies of them.

    Copies follow one another, each of all prompts in their order.
    """
    rows = torch.arange(len(scales.last), device=scales.last.device)

    def hook(site: str, x: Tensor) -> Tensor:
        if site not in scales.by_site:
            return x
        kept = scales.by_site[site]
        kept = kept[rows, scales.last] if x.ndim == 2 else kept
        return kept.repeat(len(x) // len(kept), *[1] * (x.ndim - 1))

    return hook
