"""Mutations: wrong circuits made from the true one, by the smallest steps that make it wrong.

    a node less    a true node, and what ends there, left out
    a wire less    a true wire left out; its ends stay
    a decoy more   the liveliest outside node of a site where the circuit has some, with all its weights there
    wrong head     the query, key and value channels of one head exchanged for another head's
    wrong neuron   a neuron exchanged for the liveliest other one
    everything     all nodes and all weights: sufficient and necessary, and no finding

and what the family itself offers (`KnownModel.lookalikes`).
"""

import random
from collections.abc import Iterator

import torch
from torch import Tensor

from thinwire.circuits.edges import induced_edges
from thinwire.circuits.prompts import Prompts
from thinwire.ground_truth.known import KnownModel
from thinwire.ground_truth.parts import Node, Parts
from thinwire.model.sites import part_of

PER_KIND = 3
"""Nodes, and wires, that are left out in turn."""


def mutations(known: KnownModel, per_kind: int = PER_KIND) -> dict[str, Parts]:
    """What is wrong -> nodes and wires. `per_kind` bounds how many nodes, and how many wires, are left out in turn."""
    return {**dict(_less(known, per_kind)), **dict(_other(known)), **known.lookalikes}


def _less(known: KnownModel, per_kind: int) -> Iterator[tuple[str, Parts]]:
    nodes, wires, draw = sorted(known.truth.nodes), sorted(known.truth.wires), random.Random(known.seed)
    for node in sorted(draw.sample(nodes, min(per_kind, len(nodes)))):
        yield f"a node less: {node[0]}:{node[1]}", known.truth.without_node(node)
    for wire in sorted(draw.sample(wires, min(per_kind, len(wires)))):
        yield f"a wire less: {wire[0]}:{wire[1]} -> {wire[2]}:{wire[3]}", known.truth.without_wire(wire)


def _other(known: KnownModel) -> Iterator[tuple[str, Parts]]:
    space, truth, variance = known.model.space, known.truth, _variances(known)
    outside = [node for node in map(space.node, range(space.n_nodes)) if node not in truth.nodes]

    def liveliest(site: str) -> Node:
        return max((node for node in outside if node[0] == site), key=lambda node: float(variance[site][node[1]]))

    for part in ("attn.in", "mlp.in", "attn.v"):
        sites = [site for site in known.nodes(truth) if part_of(site) == part]
        if sites:
            decoy = liveliest(sites[0])
            yield f"a decoy more: {decoy[0]}:{decoy[1]}", _grown(known, truth.nodes | {decoy})
            break
    neurons = sorted(node for node in truth.nodes if part_of(node[0]) == "mlp.neuron")
    if neurons:
        other = liveliest(neurons[0][0])
        yield "the wrong neuron", truth.renamed({neurons[0]: other})
    if names := _another_head(known):
        yield "the wrong head", truth.renamed(names)
    yield "everything", _grown(known, frozenset(map(space.node, range(space.n_nodes))))


@torch.no_grad()
def _variances(known: KnownModel) -> dict[str, Tensor]:
    """Site -> variance of every channel over the tokens of the train prompts."""
    found: dict[str, Tensor] = {}

    def hook(site: str, x: Tensor) -> Tensor:
        if site in known.model.space.widths:
            found[site] = x.flatten(0, -2).var(0)
        return x

    known.model.final(Prompts.of(known.pairs["train"]).tokens, hook)
    return found


def _grown(known: KnownModel, nodes: frozenset[Node]) -> Parts:
    """Further nodes, with the true wires and all weights that touch a further node."""
    further = nodes - known.truth.nodes
    found = {edge[:4] for edge in induced_edges(known.model, known.nodes(Parts.of(nodes=nodes)))}
    touching = {wire for wire in found if wire[:2] in further or wire[2:] in further}
    return Parts(nodes, known.truth.wires | touching)


def _another_head(known: KnownModel) -> dict[Node, Node]:
    """Channels of the first head that the truth uses -> those of the next head of its layer, which it does not."""
    width, n_head = known.model.config.d_head, known.model.config.n_head
    own = sorted(node for node in known.truth.nodes if part_of(node[0]) in ("attn.q", "attn.k", "attn.v"))
    if not own:
        return {}
    layer, used = own[0][0].split(".")[0], {channel // width for site, channel in own if site[0] == own[0][0][0]}
    free = [head for head in range(n_head) if head not in used]
    if not free:
        return {}
    head, other = own[0][1] // width, free[0]
    moved = [node for node in own if node[0].split(".")[0] == layer and node[1] // width == head]
    return {(site, channel): (site, channel + (other - head) * width) for site, channel in moved}
