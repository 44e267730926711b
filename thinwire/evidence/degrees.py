"""With how many weights a node stands in the whole model, beside the few that a circuit keeps."""

from thinwire.evidence.records import Degrees
from thinwire.model.gpt import GPT
from thinwire.model.nodes import Nodes
from thinwire.model.sites import node_key


def degrees(model: GPT, nodes: Nodes) -> dict[str, Degrees]:
    """`site:channel` -> nonzero weights of the blocks' matrices that lead to the node, and that start at it."""
    into = {site: [0] * len(channels) for site, channels in nodes.items()}
    out_of = {site: [0] * len(channels) for site, channels in nodes.items()}
    for name, (source, target) in model.space.matrices.items():
        nonzero = model.get_parameter(name) != 0
        for site, counts, along in ((target, into, 1), (source, out_of, 0)):
            if site in nodes:
                found = nonzero.sum(along)[list(nodes[site])].tolist()
                counts[site] = [a + b for a, b in zip(counts[site], found, strict=True)]
    return {
        node_key(site, channel): Degrees(into[site][i], out_of[site][i])
        for site, channels in nodes.items()
        for i, channel in enumerate(channels)
    }
