"""What a circuit loses when one part of it is taken out as well: a head, a node, an edge.

Everything is measured inside the circuit, on the same prompts: all nodes outside the circuit are at their means, and so
is the part that is taken out.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch

from thinwire.circuits.ablation import Means, isolate, remove_edges
from thinwire.circuits.graph import Edge
from thinwire.circuits.prompts import Prompts, logit_difference, task_accuracy, task_loss
from thinwire.evidence.records import Effect, HeadEffects
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Edges
from thinwire.model.nodes import Nodes
from thinwire.model.sites import head_of, is_in_head, node_key


@torch.no_grad()
def effect(model: GPT, nodes: Nodes, means: Means, prompts: Prompts, edges: Edges | None = None) -> Effect:
    """The task with only `nodes` kept and the edges that `edges` masks removed."""
    difference = logit_difference(model, prompts, isolate(model, nodes, means), edges)
    return Effect(
        loss=float(task_loss(difference, prompts.sign)),
        accuracy=task_accuracy(difference, prompts.sign),
        difference=float((difference * prompts.sign).mean()),
    )


def without(nodes: Nodes, removed: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """`nodes` less the given (site, channel) pairs."""
    gone: dict[str, set[int]] = defaultdict(set)
    for site, channel in removed:
        gone[site].add(channel)
    return {site: [c for c in channels if c not in gone[site]] for site, channels in nodes.items()}


def heads_of(nodes: Nodes, d_head: int) -> dict[str, list[tuple[str, int]]]:
    """`layer.head` -> its kept query, key and value channels as (site, channel)."""
    heads: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for site, channels in nodes.items():
        if is_in_head(site):
            for channel in channels:
                layer, head = head_of(site, channel, d_head)
                heads[f"{layer}.{head}"].append((site, channel))
    return dict(sorted(heads.items()))


def head_effects(model: GPT, nodes: Nodes, means: Means, prompts: Prompts) -> HeadEffects:
    """The circuit, and the circuit without each head's channels."""
    return HeadEffects(
        n_prompts=2 * prompts.n_pairs,
        whole=effect(model, nodes, means, prompts),
        without={
            head: effect(model, without(nodes, parts), means, prompts)
            for head, parts in heads_of(nodes, model.config.d_head).items()
        },
    )


def node_effects(model: GPT, nodes: Nodes, means: Means, prompts: Prompts) -> dict[str, Effect]:
    """`site:channel` -> the circuit without that node."""
    return {
        node_key(site, channel): effect(model, without(nodes, [(site, channel)]), means, prompts)
        for site, channels in nodes.items()
        for channel in channels
    }


def edge_effects(
    model: GPT, nodes: Nodes, edges: Iterable[Edge], means: Means, prompts: Prompts
) -> Mapping[Edge, Effect]:
    """Edge -> the circuit without that edge."""
    return {edge: effect(model, nodes, means, prompts, remove_edges(model, [edge], means)) for edge in edges}
