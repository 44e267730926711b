"""Ablation: a removed node's activation is replaced by its mean over held-out text.

Source: Gao et al. 2025, section 2.3. All of it is hooks and edge masks; nothing here changes a model.
"""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from thinwire.circuits.graph import Edge
from thinwire.model.gpt import GPT
from thinwire.model.hooks import EdgeMask, Hook
from thinwire.model.nodes import Nodes
from thinwire.progress import Progress, silent
from thinwire.tasks.tokens import TaskTokens

Means = Mapping[str, Float[Tensor, " _width"]]
"""Node site -> what stands in for each removed channel."""
StandIns = Mapping[str, Float[Tensor, "*batch _width"]]
"""The same, or what stands in on each prompt at each position."""
BATCH = 64


@torch.no_grad()
def node_means(model: GPT, windows: Int[Tensor, "N window"], progress: Progress = silent) -> dict[str, Tensor]:
    """Mean activation of every node over all positions of the windows.

    Summed in float32 within a batch of windows, in float64 over batches.
    """
    sums = {site: torch.zeros(width, dtype=torch.float64) for site, width in model.space.widths.items()}

    def hook(site: str, x: Tensor) -> Tensor:
        if site in sums:
            sums[site] += x.flatten(0, -2).sum(0).double().cpu()
        return x

    inputs = windows[:, :-1]
    with progress("node means", total=len(inputs), unit="window") as advance:
        for batch in inputs.split(BATCH):
            model.final(batch, hook)
            advance(len(batch))
    device = model.device
    return {site: (total / inputs.numel()).float().to(device) for site, total in sums.items()}


@torch.no_grad()
def task_means(model: GPT, tokens: TaskTokens) -> dict[str, Tensor]:
    """Mean activation of every node over all positions of a task's prompts, padding left out."""
    sums = {site: torch.zeros(width, dtype=torch.float64) for site, width in model.space.widths.items()}
    device = model.device
    for side, lengths in ((tokens.clean, tokens.clean_length), (tokens.corrupt, tokens.corrupt_length)):
        rows = torch.as_tensor(side).to(device)
        there = torch.arange(rows.shape[1], device=device) < torch.as_tensor(lengths, device=device)[:, None]

        def hook(site: str, x: Tensor, there: Tensor = there) -> Tensor:
            if site in sums:
                sums[site] += x[there].sum(0).double().cpu()
            return x

        model.final(rows, hook)
    total = int(tokens.clean_length.sum() + tokens.corrupt_length.sum())
    return {site: (value / total).float().to(device) for site, value in sums.items()}


def zero_means(model: GPT) -> dict[str, Tensor]:
    """The stand-ins of zero ablation."""
    device = model.device
    return {site: torch.zeros(width, device=device) for site, width in model.space.widths.items()}


def _replace(removed: Mapping[str, Bool[Tensor, " _width"]], means: Means) -> Hook:
    def hook(site: str, x: Tensor) -> Tensor:
        return torch.where(removed[site], means[site], x) if site in removed else x

    return hook


def isolate(model: GPT, nodes: Nodes, means: Means) -> Hook:
    """The circuit: every node outside `nodes` at its mean."""
    return _replace({site: ~mask for site, mask in model.space.masks(nodes, model.device).items()}, means)


def ablate(model: GPT, nodes: Nodes, means: Means) -> Hook:
    """The model without `nodes`: these at their means, everything else as it is."""
    return _replace({site: mask for site, mask in model.space.masks(nodes, model.device).items() if mask.any()}, means)


def remove_edges(model: GPT, edges: Iterable[Edge], means: StandIns) -> dict[str, EdgeMask]:
    """The model without these edges: each target sees the source's stand-in through the removed weight."""
    space = model.space
    keep: dict[str, Tensor] = {}
    for edge in edges:
        name = space.check_edge(*edge[:4])
        if name not in keep:
            keep[name] = torch.ones_like(model.get_parameter(name), dtype=torch.bool)
        keep[name][edge.target, edge.source] = False
    return {name: EdgeMask(mask, means[space.matrices[name][0]]) for name, mask in keep.items()}
