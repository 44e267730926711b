"""Scores of nodes and edges that need no learning: integrated gradients and weight magnitude."""

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.model.gpt import GPT
from thinwire.model.sites import EMBED, FINAL
from thinwire.pruning.describe import Problem
from thinwire.pruning.engine import PlainEngine

IG_STEPS = 8
"""Points on the way of the integrated gradients."""
IG_PAIRS = 64
"""Train pairs over which they are taken."""


def attribution(problem: Problem) -> tuple[Float[Tensor, " nodes"], dict[str, Tensor]]:
    """Integrated gradients: rise of the train loss credited to each node, and to each weight of each matrix."""
    prompts = problem.prompts["train"]
    chosen = prompts.pairs(torch.arange(min(IG_PAIRS, prompts.n_pairs), device=prompts.tokens.device))
    plain = PlainEngine(problem.model, chosen, problem.means, problem.norm_scales == "whole")
    everything = torch.ones(problem.model.space.n_nodes, device=problem.model.device)
    points = [plain.effects(everything * ((i + 0.5) / IG_STEPS)) for i in range(IG_STEPS)]
    nodes = torch.stack([n for n, _ in points]).mean(0)
    return nodes, {name: torch.stack([e[name] for _, e in points]).mean(0) for name in points[0][1]}


def weight_magnitude(model: GPT) -> Float[Tensor, " nodes"]:
    """Sum of the magnitudes of each node's weights, embedding and unembedding included."""
    total = {site: torch.zeros(width) for site, width in model.space.widths.items()}
    for name, (source, target) in model.space.matrices.items():
        weight = model.get_parameter(name).detach().abs().cpu()
        total[source] += weight.sum(0)
        total[target] += weight.sum(1)
    total[EMBED] += model.embed.weight.detach().abs().sum(0).cpu()
    total[FINAL] += model.unembed.weight.detach().abs().sum(0).cpu()
    return model.space.flat(total)
