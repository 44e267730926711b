"""Where each node of a circuit is most active, in pretraining text and in a task's prompts, and how it is spread.

Both signs are kept: a channel that is far below zero says as much as one that is far above.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.circuits.ablation import BATCH
from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.evidence.records import Example, Examples, Histogram
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Edges, Hook, compose, identity
from thinwire.model.nodes import Nodes
from thinwire.model.sites import node_key

N_EXAMPLES = 4
"""Examples of each sign."""
BEFORE, AFTER = 12, 4
"""Tokens shown around the extreme one."""
N_BINS = 24


@torch.no_grad()
def record(
    model: GPT,
    nodes: Nodes,
    tokens: Int[Tensor, "N T"],
    hook: Hook = identity,
    edges: Edges | None = None,
    batch: int = BATCH,
) -> dict[str, Float[Tensor, "N T kept"]]:
    """Site -> activations of its kept channels on every token, float32 on the CPU; `hook` and `edges` act first."""
    parts: dict[str, list[Tensor]] = {site: [] for site, channels in nodes.items() if channels}

    def keep(site: str, x: Tensor) -> Tensor:
        if site in parts:
            parts[site].append(x[..., list(nodes[site])].float().cpu())
        return x

    for part in tokens.split(batch):
        model(part, compose(hook, keep), edges)
    return {site: torch.cat(found) for site, found in parts.items()}


def extremes(
    values: Float[Tensor, "N T"], tokens: Int[Tensor, "N T"], lengths: Int[Tensor, " N"], sign: int
) -> list[Example]:
    """Up to `N_EXAMPLES` rows with the largest sign x value, one place each, largest first."""
    outside = torch.arange(values.shape[1]) >= lengths[:, None]
    best = (sign * values).masked_fill(outside, -torch.inf).max(1)
    order = best.values.sort(descending=True, stable=True).indices[:N_EXAMPLES].tolist()
    found = []
    for row in order:
        at = int(best.indices[row])
        if float(best.values[row]) <= 0:
            break
        low, high = max(0, at - BEFORE), min(int(lengths[row]), at + AFTER + 1)
        found.append(Example(tokens[row, low:high].tolist(), values[row, low:high].tolist(), at - low))
    return found


def histogram(values: Float[Tensor, " n"]) -> Histogram:
    """Counts in `N_BINS` equal bins from `low` to `high`, and the share of values that are exactly zero."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts = torch.histc(values, bins=N_BINS, min=low, max=high)
    return Histogram(low, high, [int(n) for n in counts.tolist()], zero=float((values == 0).float().mean()))


def node_examples(
    model: GPT,
    nodes: Nodes,
    tokens: Int[Tensor, "N T"],
    lengths: Int[Tensor, " N"],
) -> dict[str, Examples]:
    """`site:channel` -> where it is most active, and how its activations are spread."""
    return _examples(record(model, nodes, tokens), nodes, tokens, lengths)


def circuit_examples(alone: IsolatedCircuit, nodes: Nodes) -> dict[str, Examples]:
    """`node_examples` on the prompts of a circuit that runs alone."""
    prompts = alone.prompts
    recorded = record(alone.model, nodes, prompts.tokens, alone.hook, alone.edges, batch=len(prompts.tokens))
    return _examples(recorded, nodes, prompts.tokens, prompts.lengths)


def _examples(
    recorded: Mapping[str, Float[Tensor, "N T kept"]],
    nodes: Nodes,
    tokens: Int[Tensor, "N T"],
    lengths: Int[Tensor, " N"],
) -> dict[str, Examples]:
    tokens, lengths = tokens.cpu(), lengths.cpu()
    inside = torch.arange(tokens.shape[1]) < lengths[:, None]
    return {
        node_key(site, channel): Examples(
            positive=extremes(values[..., i], tokens, lengths, 1),
            negative=extremes(values[..., i], tokens, lengths, -1),
            histogram=histogram(values[..., i][inside]),
        )
        for site, values in recorded.items()
        for i, channel in enumerate(nodes[site])
    }
