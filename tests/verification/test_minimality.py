"""Minimality: what stands in a circuit without doing anything is found, and says so."""

import pytest
from judged import budget_of, material_of, subject_of
from micro_model import bracket_counter, copy_model

from thinwire.circuits.ablation import remove_edges
from thinwire.circuits.edges import induced_edges
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.circuits.scales import RecordedScales, record_scales
from thinwire.model.gpt import GPT
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
    """19 nodes of the copy circuit and 24 live distractors at each of three sites."""
    hand = copy_model()
    idle = {site: list(range(8, 32)) for site in ("embed", "0.attn.in", "0.mlp.in")}
    nodes = {site: sorted({*hand.nodes.get(site, []), *idle.get(site, [])}) for site in {**hand.nodes, **idle}}
    found = minimality(subject_of(hand, nodes=nodes), material_of(hand), FEW)
    assert found.passed is False and found.n_nodes == 19 + 72
    useless = {f"{site}:{channel}" for site, channels in idle.items() for channel in channels}
    assert set(found.idle_nodes) < useless and len(found.idle_nodes) > 60  # a few have a faint influence
    assert f"{len(found.idle_nodes)} of 91 nodes (embed:8, embed:9, embed:10, ...) and 0 of 8 edges" in found.sentence


def test_idle_edges_count_where_the_circuit_states_which_it_needs() -> None:
    """Neuron 1, which is not kept, reads four channels: what these carry to it changes nothing."""
    hand = bracket_counter()
    edges = induced_edges(hand.model, {**hand.nodes, "0.mlp.in": range(32), "0.mlp.neuron": [0, 1]})
    listed = minimality(subject_of(hand, edges=edges, edge_kind="listed"), material_of(hand), FEW)
    induced = minimality(subject_of(hand, edges=edges, edge_kind="induced"), material_of(hand), FEW)
    assert len(listed.idle_edges) == 4 and all(name.endswith("-> 0.mlp.neuron:1") for name in listed.idle_edges)
    assert induced.idle_edges == listed.idle_edges and induced.n_edges == listed.n_edges == 4 + 4
    assert (listed.edges_count, induced.edges_count) == (True, False)
    assert (listed.passed, induced.passed) == (False, True)


def test_edges_are_taken_out_under_the_circuits_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scales of the whole model: of one pass, whichever edge is gone."""
    hand, recorded = copy_model(), []

    def counted(model: GPT, prompts: Prompts) -> RecordedScales:
        recorded.append(prompts)
        return record_scales(model, prompts)

    monkeypatch.setattr("thinwire.circuits.isolated.record_scales", counted)
    subject = subject_of(hand, norm_scales="whole")
    found = minimality(subject, material_of(hand), FEW)
    assert len(recorded) == 1 and found.n_edges == 8
    alone = subject.alone(material_of(hand).test_pairs(16))
    before, n = alone.difference(), alone.prompts.n_pairs
    masks = remove_edges(hand.model, hand.circuit.edges[:1], hand.means)
    moved = (logit_difference(hand.model, alone.prompts, alone.hook, masks) - before).abs().mean()
    naive = float(moved / (before[:n] - before[n:]).mean())
    assert found.smallest_edge is not None and found.smallest_edge <= naive + 1e-5


def test_where_nothing_is_told_apart_nothing_can_be_lost() -> None:
    hand = copy_model()
    with pytest.raises(NotRun, match="does not tell the two sides apart"):
        minimality(subject_of(hand, nodes={"embed": [8]}, edges=[]), material_of(hand), FEW)
