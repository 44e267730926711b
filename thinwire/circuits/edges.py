"""Counting what a set of nodes contains.

Source: Gao et al. 2025, section 2.2. An edge is one nonzero weight between two kept nodes: in -> q, k, v;
v -> out through its head; in -> neuron; neuron -> out.
"""

from jaxtyping import Int
from torch import Tensor

from thinwire.circuits.graph import Edge
from thinwire.model.gpt import GPT
from thinwire.model.nodes import Nodes
from thinwire.model.sites import EMBED, FINAL


def induced_edges(model: GPT, nodes: Nodes) -> list[Edge]:
    """All nonzero weights between kept nodes, in the order of the matrices, then target, then source."""
    edges = []
    for name, (source_site, target_site) in model.space.matrices.items():
        sources, targets = list(nodes.get(source_site, ())), list(nodes.get(target_site, ()))
        if not sources or not targets:
            continue
        block = model.get_parameter(name)[targets][:, sources]
        for row, column in block.nonzero().tolist():
            weight = float(block[row, column])
            edges.append(Edge(source_site, sources[column], target_site, targets[row], weight))
    return edges


def count_embed_edges(model: GPT, nodes: Nodes, tokens: Int[Tensor, " tokens"]) -> int:
    """Nonzero weights from the given tokens to kept `embed` nodes."""
    return int(model.embed.weight[tokens.unique()][:, list(nodes.get(EMBED, ()))].count_nonzero())


def count_unembed_edges(model: GPT, nodes: Nodes, answers: tuple[int, int]) -> int:
    """Nonzero weights from kept `final` nodes to the two answer tokens."""
    return int(model.unembed.weight[list(answers)][:, list(nodes.get(FINAL, ()))].count_nonzero())


def count_biases(model: GPT, nodes: Nodes) -> int:
    """Nonzero biases on kept nodes."""
    total = 0
    for name, (_, target_site) in model.space.matrices.items():
        bias = model.get_parameter(name.removesuffix("weight") + "bias")
        total += int(bias[list(nodes.get(target_site, ()))].count_nonzero())
    return total


def count_residual_links(nodes: Nodes, n_layer: int) -> int:
    """Pairs write(c) -> later read(c) of one kept residual channel c."""
    order = [(EMBED, "write")]
    for layer in range(n_layer):
        for block in ("attn", "mlp"):
            order += [(f"{layer}.{block}.in", "read"), (f"{layer}.{block}.out", "write")]
    order.append((FINAL, "read"))
    links, writes = 0, []
    for site, kind in order:
        channels = set(nodes.get(site, ()))
        if kind == "write":
            writes.append(channels)
        else:
            links += sum(len(channels & written) for written in writes)
    return links
