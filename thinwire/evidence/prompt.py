"""A circuit on one prompt with some of its parts taken out: what whole model, circuit and the rest of it do."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from thinwire.circuits.graph import Circuit, Edge
from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.circuits.prompts import logit_difference
from thinwire.evidence.gather import answer_weights, heads_with_values
from thinwire.evidence.records import PromptActivity
from thinwire.model.hooks import compose
from thinwire.model.sites import node_key


@torch.no_grad()
def prompt_activity(
    alone: IsolatedCircuit,
    circuit: Circuit,
    nodes: Sequence[tuple[str, int]],
    edges: Sequence[Edge],
    text: Callable[[int], str],
) -> PromptActivity:
    """A circuit on the one prompt that `alone` holds, and without some of its (site, channel) pairs and edges."""
    model, prompts = alone.model, alone.prompts
    changed, after = _recorded(alone.without(nodes, edges))
    whole, before = _recorded(alone)
    names = [(site, channel) for site, channels in circuit.nodes.items() for channel in channels]
    heads = heads_with_values(circuit, model.config.d_head)
    return PromptActivity(
        tokens=[text(token) for token in prompts.tokens[0].tolist()],
        model=float(logit_difference(model, prompts).sigmoid()),
        circuit=whole,
        changed=changed,
        nodes={node_key(s, c): (after[s][:, c].tolist(), before[s][:, c].tolist()) for s, c in names},
        attention={f"{layer}.{head}": (_look(after, layer, head), _look(before, layer, head)) for layer, head in heads},
        unembed=answer_weights(model, circuit),
    )


def _recorded(alone: IsolatedCircuit) -> tuple[float, Mapping[str, Tensor]]:
    """The first answer's probability, and what every site holds on the one prompt."""
    found: dict[str, Tensor] = {}

    def record(site: str, x: Tensor) -> Tensor:
        found[site] = x[0].cpu()
        return x

    prompts = alone.prompts
    last = alone.model(prompts.tokens, compose(alone.hook, record), alone.edges)[0, -1]
    return float((last[prompts.answer] - last[prompts.other]).sigmoid()), found


def _look(found: Mapping[str, Tensor], layer: int, head: int) -> list[list[float]]:
    return found[f"{layer}.attn.pattern"][head].tolist()
