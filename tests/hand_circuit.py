"""Small random models and circuits for tests of single functions: nothing learnt, everything countable."""

import torch
from torch import Tensor

from thinwire.circuits.graph import Calibration, Circuit, Score
from thinwire.circuits.prompts import Prompts
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.model.nodes import node_space

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


def random_means(seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {site: torch.randn(width, generator=generator) for site, width in widths_of().items()}


def random_nodes(share: float, seed: int = 2) -> dict[str, list[int]]:
    generator = torch.Generator().manual_seed(seed)
    chosen = {s: (torch.rand(w, generator=generator) < share).nonzero().flatten() for s, w in widths_of().items()}
    return {site: channels.tolist() for site, channels in chosen.items() if len(channels)}


def all_nodes() -> dict[str, list[int]]:
    return {site: list(range(width)) for site, width in widths_of().items()}


def random_prompts(n_pairs: int = 4, seed: int = 3) -> Prompts:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(17, (2 * n_pairs, 6), generator=generator)
    lengths = torch.randint(2, 7, (2 * n_pairs,), generator=generator)
    sign = torch.ones(2 * n_pairs)
    sign[n_pairs:] = -1
    return Prompts(tokens, lengths, sign, 4, 9)


def circuit_of(**changes) -> Circuit:
    """A circuit of invented numbers; `changes` are its fields."""
    score = Score(0.1, 0.97, 0.4)
    values = {
        "status": "solved",
        "model_fingerprint": "ab" * 32,
        "tokenizer_sha256": "cd" * 32,
        "task": "a_task",
        "task_version": 3,
        "answer_tokens": (4, 9),
        "answer_texts": ('")\n', "')\n"),
        "target_loss": 0.15,
        "nodes": {"embed": [1, 5], "0.mlp.in": [5], "0.mlp.neuron": [0, 3], "final": [2]},
        "edges": [],
        "minimal_edges": None,
        "embed_edges": 3,
        "unembed_edges": 2,
        "n_biases": 1,
        "residual_links": 1,
        "scores": dict.fromkeys(("train", "validation", "test"), score),
        "calibrated_scores": dict.fromkeys(("train", "validation", "test"), score),
        "model_scores": dict.fromkeys(("train", "validation", "test"), Score(0.01, 1.0, 0.0)),
        "calibration": Calibration(1.5, -0.25),
        "ablation": "mean",
        "loss_curve": [(3, 0.4), (6, 0.1)],
        "seed": 0,
        "hyperparameters": {"steps": 3},
        "versions": {"thinwire": "0"},
    }
    return Circuit(**(values | changes))
