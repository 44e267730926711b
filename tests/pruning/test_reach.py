"""Dead ends: nodes on no path from a token to an answer."""

from model_builders import SMALL

from thinwire.circuits.graph import Edge
from thinwire.model.nodes import node_space
from thinwire.pruning.reach import on_a_path

SPACE = node_space(SMALL)  # 2 layers of 8 channels, heads of 4

MLP = {"embed": [1], "0.mlp.in": [1], "0.mlp.neuron": [3], "0.mlp.out": [5], "final": [5]}
MLP_EDGES = [Edge("0.mlp.in", 1, "0.mlp.neuron", 3, 1.0), Edge("0.mlp.neuron", 3, "0.mlp.out", 5, 1.0)]
HEAD = {"embed": [1, 2], "0.attn.in": [1, 2], "0.attn.q": [5], "0.attn.k": [5], "0.attn.v": [4], "0.attn.out": [7]}
HEAD_EDGES = [
    Edge("0.attn.in", 1, "0.attn.q", 5, 1.0),
    Edge("0.attn.in", 1, "0.attn.k", 5, 1.0),
    Edge("0.attn.in", 2, "0.attn.v", 4, 1.0),
    Edge("0.attn.v", 4, "0.attn.out", 7, 1.0),
]


def test_a_whole_path_stays() -> None:
    assert on_a_path(SPACE, MLP, MLP_EDGES) == MLP


def test_queries_and_keys_act_through_the_values_of_their_head() -> None:
    nodes = HEAD | {"final": [7]}
    assert on_a_path(SPACE, nodes, HEAD_EDGES) == nodes
    other_head = nodes | {"0.attn.q": [1, 5]}  # head 0, of which no value is kept
    edges = [*HEAD_EDGES, Edge("0.attn.in", 1, "0.attn.q", 1, 1.0)]
    assert on_a_path(SPACE, other_head, edges) == nodes


def test_what_nobody_reads_and_what_reads_nothing_goes() -> None:
    unread = MLP | {"0.mlp.out": [5, 6]}
    edges = [*MLP_EDGES, Edge("0.mlp.neuron", 3, "0.mlp.out", 6, 1.0)]
    assert on_a_path(SPACE, unread, edges) == MLP
    fed_by_nothing = MLP | {"1.mlp.in": [0], "1.mlp.neuron": [2], "1.mlp.out": [5]}
    edges = [*MLP_EDGES, Edge("1.mlp.in", 0, "1.mlp.neuron", 2, 1.0), Edge("1.mlp.neuron", 2, "1.mlp.out", 5, 1.0)]
    assert on_a_path(SPACE, fed_by_nothing, edges) == MLP


def test_a_removed_edge_carries_nothing() -> None:
    assert on_a_path(SPACE, MLP, MLP_EDGES[:1]) == {"embed": [1], "final": [5]}


def test_writes_are_heard_later_only() -> None:
    """Channel 5 is written in layer 1 and read in layer 0: no path."""
    nodes = {"embed": [1], "0.mlp.in": [5], "0.mlp.neuron": [0], "0.mlp.out": [2], "final": [2]}
    nodes |= {"1.mlp.in": [1], "1.mlp.neuron": [0], "1.mlp.out": [5]}
    edges = [Edge(f"{i}.mlp.in", c, f"{i}.mlp.neuron", 0, 1.0) for i, c in ((0, 5), (1, 1))]
    edges += [Edge(f"{i}.mlp.neuron", 0, f"{i}.mlp.out", c, 1.0) for i, c in ((0, 2), (1, 5))]
    assert on_a_path(SPACE, nodes, edges) == {"embed": [1], "final": [2]}
