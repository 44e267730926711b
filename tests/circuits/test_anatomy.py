"""A circuit's parts are counted as the paper counts them."""

import pytest
from hand_circuit import circuit_of

from thinwire.circuits.anatomy import Anatomy, anatomy
from thinwire.circuits.graph import Circuit
from thinwire.errors import CorruptFile

# By hand, the shape of the paper's quote circuit: 12 nodes.
QUOTE = {
    "embed": [3],
    "0.mlp.in": [3],
    "0.mlp.neuron": [7, 9],
    "0.mlp.out": [10, 11],
    "1.attn.in": [10, 11],
    "1.attn.k": [17],
    "1.attn.v": [18],
    "1.attn.out": [20],
    "final": [20],
}


def test_the_papers_quote_circuit_has_its_parts() -> None:
    found = anatomy(QUOTE, 16)
    assert found == Anatomy(residual_channels=4, neurons=2, heads=1, qk_channels=1, v_channels=1, layers=2)
    assert found.words == "4 residual channels, 2 neurons, 1 head, 1 QK channel, 1 V channel, in 2 layers"


def test_a_query_and_its_key_are_one_channel_and_two_layers_are_two() -> None:
    found = anatomy({"0.attn.q": [1, 2], "0.attn.k": [2, 40], "1.attn.q": [1]}, 16)
    assert (found.qk_channels, found.heads, found.layers) == (4, 3, 2)  # 0: 1, 2, 40; 1: 1; heads 0.0, 0.2, 1.0


def test_nothing_has_no_parts() -> None:
    assert anatomy({}, 16) == Anatomy(0, 0, 0, 0, 0, 0)
    assert anatomy({}, 16).words.startswith("0 residual channels, 0 neurons")


def test_circuit_json_states_it_and_is_held_to_it() -> None:
    nodes = circuit_of().nodes
    values = circuit_of(anatomy=anatomy(nodes, 16)).to_dict()
    assert Circuit.from_dict(values).anatomy == anatomy(nodes, 16)
    assert Circuit.from_dict({name: value for name, value in values.items() if name != "anatomy"}).anatomy is None
    wrong = {**values, "anatomy": {**values["anatomy"], "neurons": 99}}
    with pytest.raises(CorruptFile, match="the anatomy is not that of the nodes"):
        Circuit.from_dict(wrong)
    with pytest.raises(CorruptFile):
        Circuit.from_dict({**values, "nodes": {"../../x": [1]}, "edges": [], "n_nodes": 1, "n_edges": 0})
