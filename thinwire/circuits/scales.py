"""RMSNorm scales held at the whole model's values, prompt by prompt.

A norm divides by the size of everything in the residual stream, also of what was ablated. Frozen scales take that
way of acting at a distance from a circuit (a check that the method's critics ask for).
"""

import torch
from torch import Tensor

from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Hook


@torch.no_grad()
def record_scales(model: GPT, prompts: Prompts) -> dict[str, Tensor]:
    """RMSNorm scales of the whole model on every position of the prompts, by site."""
    scales: dict[str, Tensor] = {}

    def hook(site: str, x: Tensor) -> Tensor:
        if site.endswith(".scale"):
            scales[site] = x
        return x

    logit_difference(model, prompts, hook)
    return scales


def freeze_scales(scales: dict[str, Tensor]) -> Hook:
    """Put recorded scales in place of the ones that a pass over the same prompts has."""

    def hook(site: str, x: Tensor) -> Tensor:
        return scales.get(site, x)

    return hook
