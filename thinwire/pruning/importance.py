"""Scores of nodes and edges that need no learning: integrated gradients and weight magnitude."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Attribution:
    """Integrated gradients of the train loss along the gates, from all nodes at their means to all open."""

    nodes: Float[Tensor, " nodes"]
    """Rise of the loss credited to each node."""
    edges: dict[str, Float[Tensor, "target source"]]
    """... and to each weight of each matrix."""
    gap: float
    """Completeness gap: what the nodes' credits miss of the loss between no node open and all, as a share of it. More
    points do not close it where AbsTopK makes the loss jump."""


def attribution(problem: Problem) -> Attribution:
    """Integrated gradients of nodes and edges, over `IG_STEPS` points and up to `IG_PAIRS` train pairs."""
    prompts = problem.prompts["train"]
    chosen = prompts.pairs(torch.arange(min(IG_PAIRS, prompts.n_pairs), device=prompts.tokens.device))
    plain = PlainEngine(problem.model, chosen, problem.means, problem.norm_scales == "whole")
    everything = torch.ones(problem.model.space.n_nodes, device=problem.model.device)
    points = [plain.effects(everything * ((i + 0.5) / IG_STEPS)) for i in range(IG_STEPS)]
    nodes = torch.stack([n for n, _ in points]).mean(0)
    edges = {name: torch.stack([e[name] for _, e in points]).mean(0) for name in points[0][1]}
    between = plain.loss(torch.zeros_like(everything)) - plain.loss(everything)
    return Attribution(nodes, edges, abs(1 - float(nodes.sum()) / between) if between else 0.0)


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
