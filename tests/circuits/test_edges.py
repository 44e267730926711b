"""Edges are counted as the definition says: held to a count by hand and to four nested loops."""

import pytest
import torch
from model_builders import SMALL, all_nodes, random_nodes, sparse_model

from thinwire.circuits.edges import (
    count_biases,
    count_embed_edges,
    count_residual_links,
    count_unembed_edges,
    induced_edges,
)
from thinwire.circuits.graph import Edge
from thinwire.model.gpt import GPT

BY_HAND = {
    "embed": [1, 2],
    "0.attn.in": [1],
    "0.attn.v": [0, 5],
    "0.attn.out": [2],
    "0.mlp.in": [2, 3],
    "0.mlp.neuron": [9],
    "0.mlp.out": [1, 3],
    "final": [1, 2],
}


@torch.no_grad()
def hand_model() -> GPT:
    """All weights and biases 0 but those set here."""
    model = GPT(SMALL).requires_grad_(False)
    for name, parameter in model.named_parameters():
        if not name.endswith("gain"):
            parameter.zero_()
    parameters = dict(model.named_parameters())
    parameters["blocks.0.attn.v.weight"][0, 1] = 2.0  # 0.attn.in:1 -> 0.attn.v:0
    parameters["blocks.0.attn.v.weight"][5, 1] = -1.0
    parameters["blocks.0.attn.v.weight"][5, 2] = 3.0  # its source is not kept
    parameters["blocks.0.attn.out.weight"][2, 5] = 0.5
    parameters["blocks.0.attn.out.weight"][3, 5] = 0.5  # its target is not kept
    parameters["blocks.0.mlp.neuron.weight"][9, 3] = 1.25
    parameters["blocks.0.mlp.out.weight"][1, 9] = -0.75
    parameters["blocks.1.mlp.out.weight"][1, 9] = 9.0  # another layer
    parameters["blocks.0.mlp.neuron.bias"][9] = 0.1
    parameters["blocks.0.attn.out.bias"][2] = 0.1
    parameters["blocks.0.attn.out.bias"][3] = 0.1  # not kept
    parameters["embed.weight"][4, 1] = 1.0
    parameters["embed.weight"][4, 2] = 1.0
    parameters["embed.weight"][6, 2] = 1.0
    parameters["embed.weight"][6, 0] = 1.0  # not kept
    parameters["embed.weight"][7, 1] = 1.0  # token 7 does not occur
    parameters["unembed.weight"][4, 1] = 1.0
    parameters["unembed.weight"][9, 2] = -1.0
    parameters["unembed.weight"][9, 3] = 1.0  # not kept
    parameters["unembed.weight"][5, 1] = 1.0  # no answer
    return model


def test_a_circuit_counted_by_hand() -> None:
    model = hand_model()
    assert induced_edges(model, BY_HAND) == [
        Edge("0.attn.in", 1, "0.attn.v", 0, 2.0),
        Edge("0.attn.in", 1, "0.attn.v", 5, -1.0),
        Edge("0.attn.v", 5, "0.attn.out", 2, 0.5),
        Edge("0.mlp.in", 3, "0.mlp.neuron", 9, 1.25),
        Edge("0.mlp.neuron", 9, "0.mlp.out", 1, -0.75),
    ]
    assert count_embed_edges(model, BY_HAND, torch.tensor([4, 4, 6, 5])) == 3  # each token once, however often it is
    assert count_unembed_edges(model, BY_HAND, (4, 9)) == 2
    assert count_biases(model, BY_HAND) == 2


def test_residual_links_by_hand() -> None:
    """embed:1 -> attn.in:1, final:1; embed:2 -> mlp.in:2, final:2; attn.out:2 -> mlp.in:2, final:2;
    mlp.out:1 -> final:1; mlp.out:3 is read by nothing later (mlp.in:3 comes before it).
    """
    assert count_residual_links(BY_HAND, 2) == 7


def test_links_never_run_backwards() -> None:
    assert count_residual_links({"1.mlp.out": [0], "1.mlp.in": [0], "0.attn.in": [0]}, 2) == 0
    assert count_residual_links({"1.mlp.out": [0], "final": [0]}, 2) == 1
    assert count_residual_links({"0.attn.out": [0], "0.attn.in": [0]}, 2) == 0


KINDS = [
    ("attn.q", "attn.in", "attn.q"), ("attn.k", "attn.in", "attn.k"), ("attn.v", "attn.in", "attn.v"),
    ("attn.out", "attn.v", "attn.out"), ("mlp.neuron", "mlp.in", "mlp.neuron"), ("mlp.out", "mlp.neuron", "mlp.out"),
]  # fmt: skip


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 1.0])
def test_induced_edges_are_those_of_nested_loops(share: float) -> None:
    model, nodes = sparse_model(), random_nodes(share)
    expected = []
    for layer in (0, 1):
        for kind, source_name, target_name in KINDS:
            source_site, target_site = f"{layer}.{source_name}", f"{layer}.{target_name}"
            weight = model.state_dict()[f"blocks.{layer}.{kind}.weight"]
            for target in nodes.get(target_site, []):
                for source in nodes.get(source_site, []):
                    if weight[target, source] != 0:
                        value = weight[target, source].item()
                        expected.append(Edge(source_site, source, target_site, target, value))
    assert induced_edges(model, nodes) == expected
    assert len(expected) == 0 or share > 0


def test_all_nodes_hold_all_nonzero_weights_of_the_blocks() -> None:
    model = sparse_model()
    blocks = [p for n, p in model.named_parameters() if n.startswith("blocks.")]
    n_weights = sum(int(p.count_nonzero()) for p in blocks if p.ndim == 2)
    assert len(induced_edges(model, all_nodes())) == n_weights > 0
    biases = [p for n, p in model.named_parameters() if n.endswith("bias")]
    assert count_biases(model, all_nodes()) == sum(int(p.count_nonzero()) for p in biases) > 0
    everything = torch.arange(SMALL.vocab_size)
    assert count_embed_edges(model, all_nodes(), everything) == int(model.embed.weight.count_nonzero())
    assert count_unembed_edges(model, all_nodes(), (4, 9)) == int(model.unembed.weight[[4, 9]].count_nonzero())


def test_no_nodes_hold_nothing() -> None:
    model = sparse_model()
    assert induced_edges(model, {}) == []
    assert count_embed_edges(model, {}, torch.tensor([1, 2])) == 0
    assert count_unembed_edges(model, {}, (4, 9)) == 0
    assert count_biases(model, {}) == 0
    assert count_residual_links({}, 2) == 0


def test_a_weight_of_minus_zero_is_no_edge() -> None:
    model = hand_model()
    model.state_dict()["blocks.0.attn.q.weight"][0, 0] = -0.0
    assert induced_edges(model, {"0.attn.in": [0], "0.attn.q": [0]}) == []
