"""A tiny model in which nothing is at its initial value, and prompts for it."""

import torch
from torch import Tensor

from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT

CONFIG = ModelConfig(vocab_size=23, context=9, n_layer=2, d_model=12, d_head=4, mlp_ratio=2)


def lively(config: ModelConfig = CONFIG, seed: int = 0) -> GPT:
    """A model whose every parameter, biases, gains and sinks included, is far from its initial value."""
    torch.manual_seed(seed)
    model = GPT(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return model.requires_grad_(False)


def tokens(n: int = 3, length: int = 7, seed: int = 1) -> Tensor:
    return torch.randint(23, (n, length), generator=torch.Generator().manual_seed(seed))
