"""A circuit's graph leads from tokens to answers, and holds every weight that its circuit counts, once."""

import sys
from collections import Counter
from dataclasses import replace

import hand_circuit
import networkx
import pytest
import torch
from micro_model import BRACKET_ANSWERS, OPEN, bracket_counter, circuit_of
from model_builders import SMALL, random_nodes, sparse_model

from thinwire.circuits.connections import CircuitGraph, GraphNode, Link, connect
from thinwire.circuits.edges import count_embed_edges, count_residual_links, count_unembed_edges, induced_edges
from thinwire.circuits.graph import Circuit
from thinwire.errors import MissingExtra
from thinwire.model.config import ModelConfig, Variant
from thinwire.model.gpt import GPT
from thinwire.model.sites import EMBED, FINAL
from thinwire.pruning.reach import on_a_path

TOKENS = torch.arange(17)


def circuit_in(model: GPT, seed: int = 2, share: float = 0.4) -> Circuit:
    nodes = random_nodes(share, seed)
    return hand_circuit.circuit_of(nodes=nodes, edges=induced_edges(model, nodes), answer_tokens=(4, 9))


def graph_of(model: GPT, circuit: Circuit, tokens: torch.Tensor = TOKENS) -> CircuitGraph:
    return connect(model, circuit, tokens, model.config.context, lambda token: f"<{token}>", circuit.edges)


@pytest.mark.parametrize("seed", range(3))
def test_every_weight_that_the_circuit_counts_is_a_link(seed: int) -> None:
    model, few = sparse_model(seed), torch.tensor([3, 3, 8])
    circuit = circuit_in(model, seed)
    found = graph_of(model, circuit, few)
    kinds = Counter(link.kind for link in found.links)
    assert kinds["edge"] == len(circuit.edges) > 0
    assert kinds["embed"] == count_embed_edges(model, circuit.nodes, few) > 0
    assert kinds["unembed"] == count_unembed_edges(model, circuit.nodes, (4, 9)) > 0
    assert kinds["residual"] == count_residual_links(circuit.nodes, model.config.n_layer) > 0
    assert kinds["position"] == 0
    assert {link.weight is None for link in found.links if link.kind in ("attention", "residual")} == {True}
    assert len({(link.source, link.target) for link in found.links}) == len(found.links)
    known = {node.id for node in found.nodes}
    assert len(known) == len(found.nodes) and known >= {
        end for link in found.links for end in (link.source, link.target)
    }


def test_rows_say_what_they_are() -> None:
    model = sparse_model(0)
    circuit = circuit_in(model)
    found = graph_of(model, circuit)
    site, (channel, *_) = "0.mlp.neuron", circuit.nodes["0.mlp.neuron"]
    assert GraphNode(f"{site}:{channel}", "node", f"{site}:{channel}", site, channel) in found.nodes
    assert GraphNode("answer:4", "answer", '")\n', token=4) in found.nodes
    assert next(node for node in found.nodes if node.kind == "token") == GraphNode("token:0", "token", "<0>", token=0)
    edge = circuit.edges[0]
    ends = f"{edge.source_site}:{edge.source}", f"{edge.target_site}:{edge.target}"
    assert Link(*ends, "edge", edge.weight) in found.links


@pytest.mark.parametrize("seed", range(6))
def test_idle_nodes_are_those_that_the_pruning_finds_on_no_path(seed: int) -> None:
    """Two ways to the same answer. Kept are such channels of `embed` and `final` as have a weight outside."""
    model = sparse_model(seed)
    circuit = circuit_in(model, seed, share=0.25)
    lives = {EMBED: model.embed.weight.any(0), FINAL: model.unembed.weight[[4, 9]].any(0)}
    nodes = {s: [c for c in channels if s not in lives or lives[s][c]] for s, channels in circuit.nodes.items()}
    circuit = replace(circuit, nodes=nodes, edges=induced_edges(model, nodes))
    reached = on_a_path(model.space, nodes, circuit.edges)
    idle = {node for node in graph_of(model, circuit).idle if not node.startswith((EMBED, FINAL, "token", "answer"))}
    assert idle == {
        f"{site}:{channel}"
        for site, channels in nodes.items()
        for channel in channels
        if site not in (EMBED, FINAL) and channel not in reached.get(site, [])
    }


def test_a_true_circuit_leads_from_its_tokens_to_the_answer_that_it_moves() -> None:
    hand = bracket_counter()
    circuit = circuit_of(hand, hand.nodes)
    found = graph_of(hand.model, circuit, hand.prompts.tokens.flatten())
    assert found.idle == [f"answer:{BRACKET_ANSWERS[0]}"]  # reads a constant alone, which is no part of the circuit
    graph = found.networkx()
    assert networkx.is_weakly_connected(graph.subgraph(set(graph) - set(found.idle)))
    deep = f"answer:{BRACKET_ANSWERS[1]}"
    path = networkx.shortest_path(graph, f"token:{OPEN}", deep)
    assert [node.partition(":")[0] for node in path] == [
        *("token", "embed", "0.attn.in", "0.attn.v", "0.attn.out"),
        *("0.mlp.in", "0.mlp.neuron", "0.mlp.out", "final", "answer"),
    ]


POSITIONS = replace(SMALL, positions="learned")
BESIDE = replace(SMALL, positions="learned", variant=Variant(d_positions=4))


@pytest.mark.parametrize(("config", "target"), [(POSITIONS, "embed"), (BESIDE, "0.attn.in")])
def test_positions_are_sources_too(config: ModelConfig, target: str) -> None:
    model = sparse_model(1, config)
    nodes = {"embed": [0, 1], "0.attn.in": [1, model.config.d_read - 1], "0.attn.v": [0]}
    circuit = hand_circuit.circuit_of(nodes=nodes, edges=induced_edges(model, nodes))
    links = [link for link in graph_of(model, circuit).links if link.kind == "position"]
    assert model.positions is not None and links
    assert {link.target.partition(":")[0] for link in links} == {target}
    table = model.positions.weight[:, [0, 1] if target == "embed" else [-1]]
    assert len(links) == table.count_nonzero()
    assert {link.weight is None for link in links} == {target != "embed"}
    assert "position:0" in {node.id for node in graph_of(model, circuit).nodes}


def test_networkx_has_the_rows_and_no_weight_where_there_is_none() -> None:
    model = sparse_model(0)
    found = graph_of(model, circuit_in(model))
    graph = found.networkx()
    assert len(graph) == len(found.nodes) and graph.number_of_edges() == len(found.links)
    for link in found.links:
        attributes = {"kind": link.kind} | ({} if link.weight is None else {"weight": link.weight})
        assert graph.edges[link.source, link.target] == attributes
    assert graph.nodes["answer:9"] == {"kind": "answer", "text": "')\n", "token": 9}


def test_without_networkx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(MissingExtra, match=r"\[graph\]"):
        CircuitGraph((), ()).networkx()
