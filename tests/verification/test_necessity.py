"""Necessity: removal of the circuit against matched removals of something else."""

import pytest
import torch
from judged import budget_of, material_of, subject_of
from micro_model import bracket_counter, copy_model

from thinwire.circuits.ablation import ablate, remove_edges
from thinwire.circuits.graph import Edge
from thinwire.circuits.prompts import Prompts, logit_difference, task_loss
from thinwire.ground_truth.families import known_model
from thinwire.verification.claim import Claim
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import p_value, z_score
from thinwire.verification.necessity import necessity
from thinwire.verification.nulls import draw_edges, draw_nodes, too_few, variances
from thinwire.verification.subject import Subject


@pytest.fixture(scope="module")
def found():
    hand = copy_model()
    return necessity(subject_of(hand), material_of(hand), budget_of())


def test_the_true_circuit_is_needed(found) -> None:
    assert found.passed
    assert found.nodes_accuracy == found.edges_accuracy == 0.5
    assert found.nodes_p == found.edges_p == 1 / 31
    assert found.random_largest < 0.1 < found.nodes_loss
    assert found.nodes_z is not None and found.nodes_z > 5


def test_every_node_of_a_chain_is_an_articulation_point(found) -> None:
    """The copy model has one path: each of its 19 nodes and 8 edges breaks it alone."""
    assert (found.n_articulation_nodes, found.n_articulation_edges) == (19, 8)
    assert all(removal.circuit_loss > 0.5 for removal in found.nodes)
    assert found.nodes[0].model_loss == max(removal.model_loss for removal in found.nodes)


def test_a_single_edges_row_is_the_naive_measurement(found) -> None:
    hand = copy_model()
    edge = hand.circuit.edges[0]
    difference = logit_difference(hand.model, hand.prompts, edges=remove_edges(hand.model, [edge], hand.means))
    name = f"{edge.source_site}:{edge.source} -> {edge.target_site}:{edge.target}"
    (row,) = [removal for removal in found.edges if removal.name == name]
    assert row.model_loss == pytest.approx(float(task_loss(difference, hand.prompts.sign)), abs=1e-6)


def test_nodes_that_carry_nothing_are_not_needed() -> None:
    hand = copy_model()
    idle = {"embed": [8, 9], "0.attn.v": [3, 4], "0.attn.out": [10, 11]}
    result = necessity(subject_of(hand, nodes=idle, edges=[]), material_of(hand), budget_of())
    assert result.passed is False
    assert result.nodes_accuracy == 1.0
    assert result.edges_p is None


def test_null_sets_are_outside_equally_many_and_of_like_variance() -> None:
    """In a pool with near and far candidates only the ten nearest in variance are ever drawn."""
    hand = bracket_counter()
    subject = subject_of(hand)
    variance = variances(hand.model, hand.means, hand.prompts)
    variance["0.mlp.neuron"] = torch.cat([torch.tensor([1.0]), torch.linspace(1.0, 1.01, 10), torch.full((117,), 1e-9)])
    drawn = draw_nodes(subject, variance, 40, torch.Generator().manual_seed(0))
    neurons = {nodes["0.mlp.neuron"][0] for nodes in drawn}
    assert neurons <= set(range(1, 11)) and len(neurons) > 5  # lively ones, and not always the same
    for nodes in drawn:
        assert {site: len(channels) for site, channels in nodes.items()} == dict.fromkeys(hand.nodes, 1)
        assert all(nodes[site] != hand.nodes[site] for site in nodes)


def test_variance_is_about_the_mean_that_ablation_puts_there() -> None:
    """A node that is always 3 where its mean is 1 changes by 2 when ablated: variance 4, not 0."""
    hand = bracket_counter()
    means = {site: mean.clone() for site, mean in hand.means.items()}
    means["embed"][6] = 4.0  # the constant channel is always 6
    found = variances(hand.model, means, hand.prompts)
    assert float(found["embed"][6]) == pytest.approx(4.0)


def test_null_edges_are_nonzero_weights_outside_the_circuit() -> None:
    hand = copy_model()
    claim = subject_of(hand).claim
    variance = variances(hand.model, hand.means, hand.prompts)
    (drawn,) = draw_edges(subject_of(hand), variance, 1, torch.Generator().manual_seed(0))
    assert len(drawn) == len(claim.edges)
    assert not {edge[:4] for edge in drawn} & {edge[:4] for edge in claim.edges}
    assert all(isinstance(edge, Edge) and edge.weight != 0 for edge in drawn)
    assert sorted(edge.target_site for edge in drawn) == sorted(edge.target_site for edge in claim.edges)


def test_a_site_that_is_all_circuit_offers_no_null() -> None:
    """39 of 40 nodes are at a site of which 32 are claimed: the random sets have 7, and no p comes of them."""
    hand = bracket_counter()
    wide = subject_of(hand, nodes={**hand.nodes, "final": list(range(32))})
    result = necessity(wide, material_of(hand), budget_of(nodes=1, edges=1))
    assert result.n_missing == 32
    assert result.nodes_p is None and result.passed is None
    assert "no p: outside the circuit there are only 7 of 39 to draw" in result.sentence
    assert len(result.nodes) == len(result.edges) == 1  # bounded, and said so by the length


def test_too_few_random_sets_are_said_to_be_too_few() -> None:
    """18 of 19 sets: there are nodes enough to draw, and the sentence does not say otherwise."""
    result = necessity(subject_of(copy_model()), material_of(copy_model()), budget_of(random_sets=18, nodes=1, edges=1))
    assert result.nodes_p is None and result.n_missing == 0
    assert result.sentence.count("no p: 18 random sets are fewer than the 19 that it takes") == 2
    assert "there are only" not in result.sentence


def test_the_whole_model_as_a_circuit_has_no_null() -> None:
    """Every node claimed: nothing is left to draw from, so nothing is shown, and it says so."""
    hand = bracket_counter()
    nodes = {site: list(range(len(mean))) for site, mean in hand.means.items()}
    result = necessity(subject_of(hand, nodes=nodes), material_of(hand), budget_of(nodes=1, edges=1))
    assert result.n_missing == sum(map(len, nodes.values())) and result.variance_ratio == 0.0
    assert result.nodes_p is None and result.nodes_z is None and result.passed is None


def test_too_few_or_too_small_null_sets_give_no_p() -> None:
    assert not too_few([10] * 19, 10) and not too_few([9] * 19, 10)
    assert too_few([10] * 18, 10) and too_few([8] + [10] * 30, 10) and too_few([], 3)


def test_the_circuit_is_removed_on_all_test_pairs_and_held_against_random_ones_on_some() -> None:
    hand = copy_model()
    result = necessity(subject_of(hand), material_of(hand), budget_of(null_pairs=5, nodes=1, edges=1))
    assert (result.n_pairs, result.n_null_pairs) == (64, 5)
    removed = ablate(hand.model, hand.nodes, hand.means)
    loss = float(task_loss(logit_difference(hand.model, hand.prompts, removed), hand.prompts.sign))
    assert result.nodes_loss == pytest.approx(loss, abs=1e-6)


def test_p_is_exact_and_z_needs_spread() -> None:
    assert p_value(2.0, [1.0, 2.0, 3.0]) == 3 / 4  # ties count against the circuit
    assert p_value(9.0, [1.0] * 199) == 1 / 200
    assert z_score(5.0, [1.0, 3.0]) == pytest.approx(3 / 2**0.5)
    assert z_score(5.0, [1.0, 1.0]) is None


def test_a_trace_of_the_answer_that_is_right_by_a_hair_is_broken_too() -> None:
    """Without the true circuit's wires a decoy is right on every prompt, by 0.8 % of the difference."""
    known = known_model("correlated_decoy")
    claim = Claim("decoy", known.fingerprint, known.nodes(known.truth), known.truth.edges(known.model))
    prompts = Prompts.of(known.pairs["test"])
    material = TaskMaterial(prompts, prompts)
    result = necessity(Subject(known.model, claim, known.means), material, budget_of(null_pairs=8, nodes=1, edges=1))
    assert result.edges_accuracy == 1.0 and 0 < result.edges_left < 0.05
    assert result.passed and result.edges_loss > 0.6
