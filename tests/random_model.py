"""Small random sparse models and prompts: no task, every code path."""

from typing import Any

import torch

from thinwire.circuits.prompts import Prompts
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT

VOCAB = 24


def random_model(seed: int = 0, density: float = 0.4, **shape: Any) -> GPT:
    """A frozen model with random weights, biases and gains, `density` of its weights nonzero."""
    shape = {"n_layer": 2, "d_model": 16, "d_head": 8, "context": 12, "vocab_size": VOCAB} | shape
    generator = torch.Generator().manual_seed(seed)
    model = GPT(ModelConfig(**shape))
    for parameter in model.parameters():
        values = torch.randn(parameter.shape, generator=generator)
        values *= torch.rand(parameter.shape, generator=generator) < density
        parameter.data.copy_(values)
    return model.requires_grad_(False).eval()


def random_means(model: GPT, seed: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {site: 0.3 * torch.randn(width, generator=generator) for site, width in model.space.widths.items()}


def random_prompts(n_pairs: int = 10, longest: int = 8, seed: int = 2) -> Prompts:
    """Prompts over few tokens, so that beginnings are shared; lengths from 3."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, longest + 1, (2 * n_pairs,), generator=generator)
    tokens = torch.randint(0, 4, (2 * n_pairs, longest), generator=generator)
    sign = torch.ones(2 * n_pairs)
    sign[n_pairs:] = -1
    return Prompts(tokens[:, : int(lengths.max())], lengths, sign, answer=5, other=9)


def random_gates(model: GPT, share: float, seed: int = 3) -> torch.Tensor:
    """A gate vector with about `share` of all nodes open."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(sum(model.space.widths.values()), generator=generator) < share).float()
