"""A circuit on one prompt as an attribution graph in Neuronpedia's JSON.

Source of the format: Neuronpedia's graph schema (metadata, qParams, nodes, links), schema_version 1. There a node is
one feature at one token; here a circuit's node stands at the token where its activation differs most between the two
prompts of the pair. Token nodes feed the kept embedding channels; a link's weight is the edge's weight times its
source's activation on the clean prompt (1 for token nodes' own values), which is what the source adds to its target.
Queries and keys lead nowhere: the format takes attention patterns as given.
"""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from thinwire.circuits.connections import stream_links
from thinwire.circuits.graph import Circuit
from thinwire.errors import UserError
from thinwire.evidence.records import NodeActivity, PairEvidence, Said, Words
from thinwire.model.nodes import list_nodes
from thinwire.model.sites import EMBED, FINAL, RESIDUAL_SITES, head_of, is_in_head, is_residual, node_key, node_sites
from thinwire.version import __version__

FeatureType = Literal["embedding", "cross layer transcoder", "logit"]
"""Of a token, of everything between tokens and logits (the format knows no other), of an answer."""
N_WORDS = 3
"""Tokens that a label names, of those that a node reads and of those that it writes."""


@dataclass(frozen=True)
class Node:
    """A node as the format has it; made by `token_node`, `channel_node` and `answer_node`."""

    node_id: str
    feature: int
    layer: str
    ctx_idx: int
    feature_type: FeatureType
    clerp: str
    """Label."""
    jsNodeId: str  # noqa: N815 - the format's name
    token_prob: float = 0.0
    is_target_logit: bool = False
    run_idx: int = 0
    reverse_ctx_idx: int = 0
    activation: float | None = None


@dataclass(frozen=True)
class Link:
    source: str
    """node_id."""
    target: str
    weight: float


def token_node(place: int, text: str) -> Node:
    """The token at a place of the prompt."""
    name = f"E_{place}_{place}"
    return Node(name, place, "E", place, "embedding", text, f"{name}-0")


def channel_node(site: str, channel: int, n_layer: int, place: int, activation: float, label: str) -> Node:
    """A circuit's node at one place of the prompt."""
    layer = _layer_of(site, n_layer)
    name = f"{layer}_{site.replace('.', '-')}-{channel}_{place}"
    kind: FeatureType = "cross layer transcoder"
    return Node(name, channel, str(layer), place, kind, label, f"{name}-0", activation=activation)


def answer_node(token: int, text: str, n_layer: int, place: int, probability: float, target: bool) -> Node:
    """One of the two answers, at the last place; `target` is the right one."""
    layer = 2 * n_layer + 2
    name, label = f"{layer}_{token}_{place}", f'Output "{text}" (p={probability:.3f})'
    return Node(name, token, str(layer), place, "logit", label, f"{name}-0", probability, target)


def neuronpedia_graph(
    circuit: Circuit,
    evidence: PairEvidence,
    n_layer: int,
    d_head: int,
    scan: str,
    words: Mapping[str, Said] | None = None,
) -> dict[str, Any]:
    """The graph of one circuit on one pair's clean prompt; `words` of its nodes go into their labels.

    Nodes of one head, and of one residual channel, are groups (supernodes). Raises `UserError` when the evidence lacks
    a node of the circuit.
    """
    tokens = [token_node(place, text) for place, text in enumerate(evidence.clean_tokens)]
    channels = _channels(circuit, evidence, n_layer, words or {})
    last, share = len(tokens) - 1, evidence.circuit.clean
    answers = [
        answer_node(token, text, n_layer, last, probability, i == 0)
        for i, (token, text, probability) in enumerate(
            zip(circuit.answer_tokens, circuit.answer_texts, (share, 1 - share), strict=True)
        )
    ]
    shown = [*channels.values(), *answers]
    return {
        "metadata": _metadata(circuit, evidence, scan),
        "qParams": {
            "linkType": "both", "pinnedIds": [node.node_id for node in shown], "clickedId": "", "sg_pos": "",
            "supernodes": [[label, *ids] for label, ids in _groups(circuit, channels, d_head).items()],
        },
        "nodes": [asdict(node) for node in [*tokens, *shown]],
        "links": [asdict(link) for link in _links(circuit, evidence, n_layer, tokens, channels, answers)],
    }  # fmt: skip


def _channels(circuit: Circuit, evidence: PairEvidence, n_layer: int, words: Mapping[str, Said]) -> dict[str, Node]:
    """`site:channel` -> its node."""
    found = {}
    for site, channel in list_nodes(circuit.nodes):
        key = node_key(site, channel)
        if key not in evidence.nodes:
            raise UserError(f"no activations of {key}; make the evidence of this circuit again")
        place = _position(evidence.nodes[key])
        value = evidence.nodes[key].clean[place]
        found[key] = channel_node(site, channel, n_layer, place, value, _label(key, words.get(key)))
    return found


def _links(
    circuit: Circuit,
    evidence: PairEvidence,
    n_layer: int,
    tokens: list[Node],
    channels: Mapping[str, Node],
    answers: list[Node],
) -> list[Link]:
    def link(source: str, target: str, weight: float = 1.0) -> Link:
        node = channels[source]
        assert node.activation is not None
        return Link(node.node_id, channels[target].node_id, weight * node.activation)

    nodes = {node_key(EMBED, channel): channels[node_key(EMBED, channel)] for channel in circuit.nodes.get(EMBED, ())}
    links = [Link(tokens[n.ctx_idx].node_id, n.node_id, n.activation or 0.0) for n in nodes.values()]
    links += [link(node_key(a, s), node_key(b, t), weight) for a, s, b, t, weight in circuit.edges]
    sites = node_sites(n_layer, RESIDUAL_SITES)
    links += [link(found.source, found.target) for found in stream_links(sites, circuit.nodes)]
    for i, answer in enumerate(answers):
        for key, weights in evidence.unembed.items():
            if weights[i]:
                added = weights[i] * evidence.nodes[key].clean[-1]
                links.append(Link(channels[key].node_id, answer.node_id, added))
    return links


def _groups(circuit: Circuit, channels: Mapping[str, Node], d_head: int) -> dict[str, list[str]]:
    """Label -> node ids, of the heads and residual channels that have more than one; each node is in one group."""
    groups: dict[str, list[str]] = defaultdict(list)
    for site, channel in list_nodes(circuit.nodes):
        node = channels[node_key(site, channel)]
        if is_in_head(site):
            layer, head = head_of(site, channel, d_head)
            groups[f"layer {layer}, head {head}"].append(node.node_id)
        elif is_residual(site):
            groups[f"residual channel {channel}"].append(node.node_id)
    return {label: ids for label, ids in groups.items() if len(ids) > 1}


def _position(node: NodeActivity) -> int:
    clean, corrupt = node.clean, node.corrupt
    if len(clean) != len(corrupt):
        return len(clean) - 1
    return max(range(len(clean)), key=lambda i: abs(clean[i] - corrupt[i]))


def _label(key: str, said: Said | None) -> str:
    """`0.mlp.neuron:412, reads '"' " '", writes '")'`, by the model's weights along the direct path."""
    if said is None:
        return key
    parts = [("reads", said.model.reads), ("writes", said.model.writes)]
    return ", ".join([key, *(f"{verb} {_tokens(words)}" for verb, words in parts if words)])


def _tokens(words: Words) -> str:
    return " ".join(f"{'-' if weight < 0 else ''}{token!r}" for token, weight in words[:N_WORDS])


def _layer_of(site: str, n_layer: int) -> int:
    """Rows of the graph: 0 the embedding channels, two for each layer (attention, MLP), then the final norm."""
    if site == EMBED:
        return 0
    if site == FINAL:
        return 2 * n_layer + 1
    layer, block, part = site.split(".")
    return 1 + 2 * int(layer) + (block == "mlp" or part in ("mid", "post"))


def _metadata(circuit: Circuit, evidence: PairEvidence, scan: str) -> dict[str, Any]:
    tokens = evidence.clean_tokens
    return {
        "slug": f"{circuit.task}-{circuit.seed}", "scan": scan, "transcoder_list": [], "prompt_tokens": tokens,
        "prompt": "".join(tokens), "schema_version": 1,
        "info": {"creator_name": "thinwire", "generator": {"name": "thinwire", "version": __version__},
                 "create_time_ms": int(time.time() * 1000)},
    }  # fmt: skip
