"""circuit.json: what is written is what is read, and a file of another making is refused by name."""

import json

import pytest
from hand_circuit import circuit_of

from thinwire.circuits.graph import Circuit, Edge
from thinwire.errors import CorruptFile
from thinwire.storage.files import to_json

EDGES = [Edge("0.mlp.in", 5, "0.mlp.neuron", 0, 0.5), Edge("0.mlp.in", 5, "0.mlp.neuron", 3, -1.0 / 3)]
PROMISED = {
    "schema_version", "status", "model_fingerprint", "tokenizer_sha256", "task", "task_version", "target_loss",
    "n_nodes", "n_edges", "minimal_edges", "embed_edges", "unembed_edges", "nodes", "edges", "scores",
    "calibrated_scores", "model_scores", "calibration", "ablation", "seed", "hyperparameters", "versions",
}  # fmt: skip


def through_json(circuit: Circuit) -> Circuit:
    return Circuit.from_dict(json.loads(to_json(circuit.to_dict())))


@pytest.mark.parametrize("minimal", [None, [], EDGES[:1]])
@pytest.mark.parametrize("status", ["solved", "not_solved"])
def test_a_circuit_survives_json(minimal, status: str) -> None:
    scores = None if minimal is None else circuit_of().scores
    circuit = circuit_of(edges=EDGES, minimal_edges=minimal, minimal_scores=scores, status=status)
    assert through_json(circuit) == circuit
    assert isinstance(through_json(circuit).edges[0], Edge)
    assert to_json(through_json(circuit).to_dict()) == to_json(circuit.to_dict())


def test_the_file_holds_what_was_promised() -> None:
    assert circuit_of().to_dict().keys() >= PROMISED
    assert circuit_of(edges=EDGES).to_dict()["edges"][1] == ["0.mlp.in", 5, "0.mlp.neuron", 3, -1.0 / 3]


def test_nodes_and_edges_are_counted() -> None:
    """2 + 1 + 2 + 1 nodes."""
    values = circuit_of(edges=EDGES).to_dict()
    assert (values["n_nodes"], values["n_edges"]) == (6, 2)
    empty = circuit_of(nodes={}, edges=[])
    assert (empty.n_nodes, empty.n_edges) == (0, 0)


def test_counts_that_the_lists_do_not_have_are_refused() -> None:
    values = circuit_of(edges=EDGES).to_dict()
    for name in ("n_nodes", "n_edges"):
        with pytest.raises(CorruptFile, match="states counts that its own lists do not have"):
            Circuit.from_dict(values | {name: values[name] + 1})


def test_another_schema_version_is_refused() -> None:
    values = circuit_of().to_dict()
    with pytest.raises(CorruptFile, match="schema_version 99"):
        Circuit.from_dict(values | {"schema_version": 99})
    del values["schema_version"]
    with pytest.raises(CorruptFile, match="schema_version None"):
        Circuit.from_dict(values)


def test_unknown_and_missing_keys_are_named() -> None:
    values = circuit_of().to_dict()
    with pytest.raises(CorruptFile, match="unknown keys: surprise"):
        Circuit.from_dict(values | {"surprise": 1})
    del values["nodes"], values["seed"]
    with pytest.raises(CorruptFile, match="missing keys: nodes, seed"):
        Circuit.from_dict(values)


@pytest.mark.parametrize("key", ["scores", "calibrated_scores", "model_scores", "calibration"])
def test_keys_inside_are_as_strict(key: str) -> None:
    values = json.loads(to_json(circuit_of().to_dict()))
    inner = values[key] if key == "calibration" else values[key]["test"]
    inner["surprise"] = 1
    with pytest.raises(CorruptFile, match=rf"unknown keys: {key}\.(test\.)?surprise"):
        Circuit.from_dict(values)


def test_reading_leaves_the_dictionary_as_it_was() -> None:
    values = circuit_of(edges=EDGES).to_dict()
    before = json.dumps(values)
    Circuit.from_dict(values)
    assert json.dumps(values) == before
