"""A circuit on one prompt as an attribution graph in Neuronpedia's JSON.

Source of the format: Neuronpedia's graph schema (metadata, qParams, nodes, links), schema_version 1. There a node is
one feature at one token; here a circuit's node stands at the token where its activation differs most between the two
prompts of the pair. Token nodes feed the kept embedding channels; a link's weight is the edge's weight times its
source's activation on the clean prompt (1 for token nodes' own values), which is what the source adds to its target.
"""

import time
from collections.abc import Mapping
from typing import Any

from thinwire.circuits.graph import Circuit
from thinwire.errors import UserError
from thinwire.evidence.records import NodeActivity, PairEvidence

TRANSCODER = "cross layer transcoder"
"""Feature type of everything between tokens and logits; the format knows no other."""


def _position(node: NodeActivity) -> int:
    clean, corrupt = node.clean, node.corrupt
    if len(clean) != len(corrupt):
        return len(clean) - 1
    return max(range(len(clean)), key=lambda i: abs(clean[i] - corrupt[i]))


def _layer_of(site: str, n_layer: int) -> int:
    """Rows of the graph: 0 the embedding channels, two for each layer (attention, MLP), then the final norm."""
    if site == "embed":
        return 0
    if site == "final":
        return 2 * n_layer + 1
    layer, block = site.split(".")[:2]
    return 1 + 2 * int(layer) + (block == "mlp")


def _node(node_id: str, layer: str, place: int, kind: str, words: str, **more: Any) -> dict[str, Any]:
    return {
        "node_id": node_id, "feature": 0, "layer": layer, "ctx_idx": place, "feature_type": kind, "token_prob": 0.0,
        "is_target_logit": False, "run_idx": 0, "reverse_ctx_idx": 0, "jsNodeId": f"{node_id}-0", "clerp": words,
        **more,
    }  # fmt: skip


def neuronpedia_graph(circuit: Circuit, evidence: PairEvidence, n_layer: int, scan: str) -> dict[str, Any]:
    """The graph of one circuit on one pair's clean prompt.

    Raises `UserError` when the evidence lacks a node of the circuit.
    """
    tokens, known = evidence.clean_tokens, evidence.nodes
    names: dict[str, str] = {}
    nodes, links = [], []
    for place, text in enumerate(tokens):
        nodes.append(_node(f"E_{place}_{place}", "E", place, "embedding", text, feature=place))
    for site, channels in circuit.nodes.items():
        for channel in channels:
            key = f"{site}:{channel}"
            if key not in known:
                raise UserError(f"no activations of {key}; make the evidence of this circuit again")
            place, layer = _position(known[key]), _layer_of(site, n_layer)
            names[key] = f"{layer}_{site.replace('.', '-')}-{channel}_{place}"
            value = known[key].clean[place]
            nodes.append(_node(names[key], str(layer), place, TRANSCODER, key, feature=channel, activation=value))
            if site == "embed":
                links.append({"source": f"E_{place}_{place}", "target": names[key], "weight": value})
    for a, s, b, t, weight in circuit.edges:
        node = known[f"{a}:{s}"]
        added = weight * node.clean[_position(node)]
        links.append({"source": names[f"{a}:{s}"], "target": names[f"{b}:{t}"], "weight": added})
    _add_streams(circuit, names, known, links)
    _add_answers(circuit, evidence, names, n_layer, nodes, links)
    return {
        "metadata": _metadata(circuit, evidence, scan),
        "qParams": {"linkType": "both", "pinnedIds": [], "clickedId": "", "supernodes": [], "sg_pos": ""},
        "nodes": nodes,
        "links": links,
    }


def _metadata(circuit: Circuit, evidence: PairEvidence, scan: str) -> dict[str, Any]:
    tokens = evidence.clean_tokens
    return {
        "slug": f"{circuit.task}-{circuit.seed}", "scan": scan, "transcoder_list": [], "prompt_tokens": tokens,
        "prompt": "".join(tokens), "schema_version": 1,
        "info": {"creator_name": "thinwire", "generator": {"name": "thinwire"},
                 "create_time_ms": int(time.time() * 1000)},
    }  # fmt: skip


def _order(site: str) -> float:
    """Where a site of the residual stream stands along it."""
    if site == "embed":
        return -1
    if site == "final":
        return float("inf")
    layer, block, part = site.split(".")
    return 4 * int(layer) + 2 * (block == "mlp") + (part == "out")


def _add_streams(circuit: Circuit, names: Mapping[str, str], known: Mapping[str, NodeActivity], links: list) -> None:
    """Residual channels: from each write to every later read, with what the write adds."""
    for site, channels in circuit.nodes.items():
        if not site.endswith(("embed", ".out")):
            continue
        for later, reads in circuit.nodes.items():
            if not later.endswith((".in", "final")) or _order(later) <= _order(site):
                continue
            for channel in set(channels) & set(reads):
                node = known[f"{site}:{channel}"]
                value = node.clean[_position(node)]
                ends = {"source": names[f"{site}:{channel}"], "target": names[f"{later}:{channel}"]}
                links.append({**ends, "weight": value})


def _add_answers(
    circuit: Circuit,
    evidence: PairEvidence,
    names: Mapping[str, str],
    n_layer: int,
    nodes: list,
    links: list,
) -> None:
    place, share = len(evidence.clean_tokens) - 1, evidence.circuit.clean
    layer = 2 * n_layer + 2
    for i, (text, probability) in enumerate(zip(circuit.answer_texts, (share, 1 - share), strict=True)):
        token = circuit.answer_tokens[i]
        node_id = f"{layer}_{token}_{place}"
        nodes.append(
            _node(node_id, str(layer), place, "logit", f'Output "{text}" (p={probability:.3f})', feature=token,
                  token_prob=probability, is_target_logit=i == 0)
        )  # fmt: skip
        for key, weights in evidence.unembed.items():
            if weights[i]:
                added = weights[i] * evidence.nodes[key].clean[-1]
                links.append({"source": names[key], "target": node_id, "weight": added})
