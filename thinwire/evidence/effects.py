"""What a circuit loses when one part of it is taken out as well: a head, a node, an edge.

Everything is measured inside the circuit, on the same prompts: all nodes outside the circuit are at their means, and so
is the part that is taken out.
"""

from collections import defaultdict
from collections.abc import Iterable

from thinwire.circuits.graph import Edge
from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.circuits.prompts import task_accuracy, task_loss
from thinwire.evidence.records import Effect, HeadEffects
from thinwire.model.nodes import Nodes
from thinwire.model.sites import head_of, is_in_head, node_key


def effect(alone: IsolatedCircuit) -> Effect:
    """What a circuit, whole or with parts taken out, does on its prompts."""
    difference, sign = alone.difference(), alone.prompts.sign
    return Effect(
        loss=float(task_loss(difference, sign)),
        accuracy=task_accuracy(difference, sign),
        difference=float((difference * sign).mean()),
    )


def heads_of(nodes: Nodes, d_head: int) -> dict[str, list[tuple[str, int]]]:
    """`layer.head` -> its kept query, key and value channels as (site, channel)."""
    heads: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for site, channels in nodes.items():
        if is_in_head(site):
            for channel in channels:
                layer, head = head_of(site, channel, d_head)
                heads[f"{layer}.{head}"].append((site, channel))
    return dict(sorted(heads.items()))


def head_effects(alone: IsolatedCircuit) -> HeadEffects:
    """The circuit, and the circuit without each head's channels."""
    heads = heads_of(alone.nodes, alone.model.config.d_head)
    without = {head: effect(alone.without(parts)) for head, parts in heads.items()}
    return HeadEffects(2 * alone.prompts.n_pairs, effect(alone), without)


def node_effects(alone: IsolatedCircuit) -> dict[str, Effect]:
    """`site:channel` -> the circuit without that node."""
    return {
        node_key(site, channel): effect(alone.without([(site, channel)]))
        for site, channels in alone.nodes.items()
        for channel in channels
    }


def edge_effects(alone: IsolatedCircuit, edges: Iterable[Edge]) -> dict[Edge, Effect]:
    """Edge -> the circuit without that edge."""
    return {edge: effect(alone.without(edges=[edge])) for edge in edges}
