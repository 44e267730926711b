"""Many interventions in one batch: the prompts are repeated, and every copy has its own nodes replaced.

V variants of P prompts are V x P rows, variants outermost. Prompts are short, so a batch of single-node ablations costs
little more than its tokens.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.circuits.patching import patch
from thinwire.circuits.prompts import Prompts, logit_difference, task_accuracy, task_loss
from thinwire.model.gpt import GPT, Entry
from thinwire.model.hooks import Edges, Hook, compose, identity
from thinwire.model.nodes import Nodes, gathered
from thinwire.model.sites import EMBED, layer_of

ROWS = 2048
"""Tokens in one forward pass, at most (at least one variant)."""

SEED_STEP = 7919
"""Between the seeds of two draws; a prime, so that draws of neighbouring seeds differ."""

T = TypeVar("T")

Values = Mapping[str, Tensor]
"""Site -> what replaces them: one value per channel, or one per prompt (position) and channel."""


def stack_nodes(model: GPT, variants: Sequence[Nodes]) -> dict[str, Bool[Tensor, "V width"]]:
    """One mask per site for a list of node sets; sites that no variant touches are left out."""
    device = model.device
    masks = {}
    for site, width in model.space.widths.items():
        if any(nodes.get(site) for nodes in variants):
            mask = torch.zeros(len(variants), width, dtype=torch.bool)
            for row, nodes in zip(mask, variants, strict=True):
                row[list(nodes.get(site, ()))] = True
            masks[site] = mask.to(device)
    return masks


def parts(n_variants: int, prompts: Prompts) -> Iterator[slice]:
    """Variants in portions of at most `ROWS` tokens."""
    size = max(1, ROWS // prompts.tokens.numel())
    for start in range(0, n_variants, size):
        yield slice(start, min(start + size, n_variants))


@torch.no_grad()
def differences(
    model: GPT,
    prompts: Prompts,
    n_variants: int,
    hook_of: Callable[[slice], Hook],
    edges: Edges | None = None,
    start: Entry | None = None,
) -> Float[Tensor, "V P"]:
    """logit(answer) - logit(other) of every prompt under every variant; `hook_of` makes the hook of a portion.

    `edges` are masked in all variants alike, and all go on from `start`, the stream of the prompts there.
    """
    found = [torch.empty(0, len(prompts.lengths), device=prompts.tokens.device)]
    for part in parts(n_variants, prompts):
        times = part.stop - part.start
        begin = start and Entry(start.block, start.stream.repeat(times, 1, 1))
        difference = logit_difference(model, prompts.repeated(times), hook_of(part), edges, begin)
        found.append(difference.unflatten(0, (times, -1)))
    return torch.cat(found)


def replace_in_model(model: GPT, prompts: Prompts, variants: Sequence[Nodes], values: Values) -> Float[Tensor, "V P"]:
    """`differences` of the whole model with each variant's nodes replaced by `values`."""
    return _replaced(model, prompts, variants, values, identity, {})


def replace_in_circuit(alone: IsolatedCircuit, variants: Sequence[Nodes], values: Values) -> Float[Tensor, "V P"]:
    """`differences` of a circuit alone with each variant's nodes replaced by `values`."""
    return _replaced(alone.model, alone.prompts, variants, values, alone.hook, alone.edges)


@torch.no_grad()
def _replaced(
    model: GPT, prompts: Prompts, variants: Sequence[Nodes], values: Values, base: Hook, edges: Edges
) -> Float[Tensor, "V P"]:
    """Variants that touch nothing in front of some block go on from the stream that all have in common there."""
    found = torch.empty(len(variants), len(prompts.lengths), device=prompts.tokens.device)
    entries = model.entries(prompts.tokens, base, edges) if variants else []
    by_block: dict[int | None, list[int]] = {}
    for row, nodes in enumerate(variants):
        by_block.setdefault(_first_block(nodes, model.config.n_layer), []).append(row)
    for block, rows in by_block.items():
        chosen = [variants[row] for row in rows]

        def hook_of(part: slice, chosen: Sequence[Nodes] = chosen) -> Hook:
            return compose(base, patch(stack_nodes(model, chosen[part]), values))

        start = None if block is None else entries[block]
        found[rows] = differences(model, prompts, len(rows), hook_of, edges, start)
    return found


def _first_block(nodes: Nodes, n_layer: int) -> int | None:
    """The first block that nodes lie in, n_layer for the final norm alone; None with some in front of all blocks."""
    sites = [site for site, channels in nodes.items() if channels]
    if EMBED in sites:
        return None
    layers = [layer_of(site) for site in sites]
    return min((layer for layer in layers if layer is not None), default=n_layer)


def losses_when_shut(alone: IsolatedCircuit, shut: Bool[Tensor, "V nodes"]) -> list[float]:
    """Task loss of a circuit of whose outside only these nodes are shut, all others open, one for each variant."""
    masks = alone.model.space.by_site(shut.to(alone.model.device))

    def hook_of(part: slice) -> Hook:
        shutting = patch({site: mask[part] for site, mask in masks.items()}, alone.means)
        return compose(shutting, alone.norms)

    return losses(differences(alone.model, alone.prompts, len(shut), hook_of, alone.edges), alone.prompts)


def random_subsets(nodes: Sequence[tuple[str, int]], share: float, n: int, seed: int) -> list[Nodes]:
    """`n` random subsets that hold `share` of the nodes, at least one."""
    size = max(1, round(share * len(nodes)))
    return [gathered(sample(nodes, size, seed + draw * SEED_STEP)) for draw in range(n if nodes else 0)]


def single(nodes: Sequence[tuple[str, int]]) -> list[Nodes]:
    """One variant for each (site, channel)."""
    return [{site: [channel]} for site, channel in nodes]


def losses(differences: Float[Tensor, "V P"], prompts: Prompts) -> list[float]:
    """Task loss of every variant, nats."""
    return [float(task_loss(row, prompts.sign)) for row in differences]


def accuracies(differences: Float[Tensor, "V P"], prompts: Prompts) -> list[float]:
    """Accuracy of every variant."""
    return [task_accuracy(row, prompts.sign) for row in differences]


def sample_pairs(prompts: Prompts, n: int, seed: int) -> Prompts:
    """`n` pairs drawn without replacement, or all if there are no more."""
    if n >= prompts.n_pairs:
        return prompts
    order = torch.randperm(prompts.n_pairs, generator=torch.Generator().manual_seed(seed))[:n]
    return prompts.pairs(order.sort().values.to(prompts.tokens.device))


def sample(items: Sequence[T], n: int, seed: int) -> list[T]:
    """`n` of the items, or all if there are no more, in their order."""
    if n >= len(items):
        return list(items)
    chosen = torch.randperm(len(items), generator=torch.Generator().manual_seed(seed))[:n]
    return [items[i] for i in chosen.sort().values.tolist()]
