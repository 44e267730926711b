"""Minimality: what stands in a circuit without doing anything is found, and says so."""

import pytest
from judged import budget_of, material_of, subject_of
from micro_model import bracket_counter, copy_model

from thinwire.circuits.edges import induced_edges
from thinwire.verification.finding import NotRun
from thinwire.verification.minimality import minimality

FEW = budget_of(survey_pairs=16)


@pytest.mark.parametrize("build", [copy_model, bracket_counter])
def test_nothing_in_a_true_circuit_is_idle(build) -> None:
    hand = build()
    found = minimality(subject_of(hand), material_of(hand), FEW)
    assert found.passed and found.idle_nodes == found.idle_edges == []
    assert (found.n_nodes, found.n_edges) == (hand.circuit.n_nodes, hand.circuit.n_edges)
    assert found.smallest_node is not None and found.smallest_node > 0.1


def test_useless_nodes_are_named() -> None:
    """19 nodes of the copy circuit and 30 live distractors at each of three sites."""
    hand = copy_model()
    idle = {site: list(range(8, 32)) for site in ("embed", "0.attn.in", "0.mlp.in")}
    nodes = {site: sorted({*hand.nodes.get(site, []), *idle.get(site, [])}) for site in {**hand.nodes, **idle}}
    found = minimality(subject_of(hand, nodes=nodes), material_of(hand), FEW)
    assert found.passed is False and found.n_nodes == 19 + 72
    useless = {f"{site}:{channel}" for site, channels in idle.items() for channel in channels}
    assert set(found.idle_nodes) < useless and len(found.idle_nodes) > 60  # a few have a faint influence
    assert f"{len(found.idle_nodes)} of 91 nodes (embed:8, embed:9, embed:10, ...) and 0 of 8 edges" in found.sentence


def test_idle_edges_count_where_the_circuit_states_which_it_needs() -> None:
    hand = bracket_counter()
    nodes = {**hand.nodes, "0.attn.v": [0, 5]}
    edges = induced_edges(hand.model, nodes)
    spare = [*edges, *[e for e in induced_edges(hand.model, {**nodes, "0.mlp.in": list(range(32))}) if e not in edges]]
    listed = minimality(subject_of(hand, edges=spare[:6], edge_kind="listed"), material_of(hand), FEW)
    induced = minimality(subject_of(hand, edges=spare[:6], edge_kind="induced"), material_of(hand), FEW)
    assert listed.idle_edges == induced.idle_edges
    assert (listed.edges_count, induced.edges_count) == (True, False)
    assert listed.passed is (listed.idle_edges == []) and induced.passed is True


def test_where_nothing_is_told_apart_nothing_can_be_lost() -> None:
    hand = copy_model()
    with pytest.raises(NotRun, match="does not tell the two sides apart"):
        minimality(subject_of(hand, nodes={"embed": [8]}, edges=[]), material_of(hand), FEW)
