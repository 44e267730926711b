"""How the nodes of a circuit tell the two answers of a task apart, over all prompts and place by place."""

import torch

from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.evidence.examples import record
from thinwire.evidence.records import ClassDifference
from thinwire.model.nodes import Nodes
from thinwire.model.sites import node_key

LAST = 8
"""Places that are looked at, counted from a prompt's end: there a task's prompts are alike, whatever their length."""


@torch.no_grad()
def class_differences(alone: IsolatedCircuit, nodes: Nodes) -> dict[str, ClassDifference]:
    """`site:channel` -> how far apart clean and corrupt prompts are at each of the last places, inside the circuit."""
    prompts = alone.prompts
    recorded = record(alone.model, nodes, prompts.tokens, alone.hook, alone.edges, batch=len(prompts.tokens))
    lengths, clean = prompts.lengths.cpu(), (prompts.sign > 0).cpu()
    n_places = min(LAST, int(lengths.min()))
    places = lengths[:, None] - torch.arange(n_places, 0, -1)
    rows = torch.arange(len(lengths))[:, None]
    found = {}
    for site, values in recorded.items():
        ends = values[rows, places]
        means = [ends[side].mean(0) for side in (clean, ~clean)]
        spread = torch.stack([ends[side].var(0, correction=0) for side in (clean, ~clean)]).mean(0).sqrt()
        for i, channel in enumerate(nodes[site]):
            found[node_key(site, channel)] = ClassDifference(
                means[0][:, i].tolist(), means[1][:, i].tolist(), spread[:, i].tolist()
            )
    return found
