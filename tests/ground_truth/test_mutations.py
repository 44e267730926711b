"""Mutations are wrong, each in its own way."""

import pytest

from thinwire.circuits.edges import induced_edges
from thinwire.ground_truth.families import FAMILIES, known_model
from thinwire.ground_truth.mutations import mutations


@pytest.mark.parametrize("family", FAMILIES)
def test_no_mutation_is_the_truth_and_all_are_parts_of_the_model(family: str) -> None:
    known = known_model(family)
    found = mutations(known)
    assert known.truth not in found.values()
    assert len(set(found.values())) == len(found)
    for name, parts in found.items():
        known.model.space.check(known.nodes(parts))
        ends = {end for wire in parts.wires for end in (wire[:2], wire[2:])}
        assert ends <= parts.nodes, name
    assert {name.split(":")[0] for name in found} >= {"a node less", "a wire less", "a decoy more", "everything"}
    assert ("the wrong head" in found) == (family in HAVE_ANOTHER_HEAD)


HAVE_ANOTHER_HEAD = set(FAMILIES) - {"superposed_features", "redundant_head", "split_heads"}
"""The others attend nowhere, or use all heads of the small size."""


def test_true_nodes_and_wires_are_left_out_in_turn() -> None:
    known = known_model("copy")
    found = mutations(known, per_kind=100)
    assert sum(name.startswith("a node less") for name in found) == 11
    assert sum(name.startswith("a wire less") for name in found) == 4
    assert sum(" less: " in name for name in mutations(known)) == 6  # three of each kind


def test_everything_is_everything_but_the_idle_weights_between_true_nodes() -> None:
    known = known_model("idle_weights")
    parts = mutations(known)["everything"]
    weights = {edge[:4] for edge in induced_edges(known.model, known.model.space.everything())}
    assert len(parts.nodes) == known.n_nodes and len(weights - parts.wires) == 6
