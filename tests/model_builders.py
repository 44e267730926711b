"""Models of random weights, their prompts, means and nodes: no task, nothing learnt, every code path.

    random_model()   sparse, of any shape
    sparse_model()   the smallest, about half of it zero: everything can be counted
    lively()         every parameter, biases, gains and sinks included, far from its initial value

Models whose circuit is known are in micro_model.py, trained ones in tiny_world.py.
"""

from typing import Any

import torch
from torch import Tensor

from thinwire.circuits.prompts import Prompts
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.model.nodes import node_space

# --- sparse, of any shape -------------------------------------------------------------------------------------------

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


def random_means(model: GPT, seed: int = 1) -> dict[str, Tensor]:
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


def random_gates(model: GPT, share: float, seed: int = 3) -> Tensor:
    """A gate vector with about `share` of all nodes open."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(sum(model.space.widths.values()), generator=generator) < share).float()


# --- the smallest ---------------------------------------------------------------------------------------------------

SMALL = ModelConfig(vocab_size=17, context=6, n_layer=2, d_model=8, d_head=4, mlp_ratio=2, activation_frac=1.0)


def sparse_model(seed: int = 0, config: ModelConfig = SMALL) -> GPT:
    """About half of all weights and biases are exactly 0, the others far from it."""
    generator = torch.Generator().manual_seed(seed)
    model = GPT(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("gain"):
                value = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(value * (torch.rand(parameter.shape, generator=generator) < 0.5))
    return model.requires_grad_(False)


def widths_of(config: ModelConfig = SMALL) -> dict[str, int]:
    return node_space(config).widths


def small_means(seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {site: torch.randn(width, generator=generator) for site, width in widths_of().items()}


def random_nodes(share: float, seed: int = 2) -> dict[str, list[int]]:
    generator = torch.Generator().manual_seed(seed)
    chosen = {s: (torch.rand(w, generator=generator) < share).nonzero().flatten() for s, w in widths_of().items()}
    return {site: channels.tolist() for site, channels in chosen.items() if len(channels)}


def all_nodes() -> dict[str, list[int]]:
    return {site: list(range(width)) for site, width in widths_of().items()}


def small_prompts(n_pairs: int = 4, seed: int = 3) -> Prompts:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(17, (2 * n_pairs, 6), generator=generator)
    lengths = torch.randint(2, 7, (2 * n_pairs,), generator=generator)
    sign = torch.ones(2 * n_pairs)
    sign[n_pairs:] = -1
    return Prompts(tokens, lengths, sign, 4, 9)


# --- nothing at its initial value -----------------------------------------------------------------------------------

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
