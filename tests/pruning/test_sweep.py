"""What a sweep leaves is 1-minimal; on hand-built models nodes and edges are those of the true circuit."""

from dataclasses import replace
from functools import cache
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from micro_model import HandModel, bracket_counter, copy_model

from thinwire.circuits.artefact import StoredCircuit, evaluate_circuit
from thinwire.circuits.graph import Circuit
from thinwire.circuits.overlap import node_overlap
from thinwire.circuits.prompts import Prompts
from thinwire.ground_truth.families import known_model
from thinwire.model.checkpoint import fingerprint
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.describe import Identity, Problem
from thinwire.pruning.engine import FastEngine
from thinwire.pruning.prune import prune_together
from thinwire.pruning.sweep import Minimiser, one_minimal, sweep_nodes, sweep_strands
from thinwire.workflows.known_model import pruning_problem

CONFIG = PruneConfig(steps=40, learning_rate=3e-2, k_coef=1e-3, batch_pairs=32, means_tokens=1024)


def pruned(hand: HandModel, *configs: PruneConfig) -> list[Circuit]:
    identity = Identity(hand.task, 1, fingerprint(hand.model), "0" * 64)
    return prune_together(Problem(hand.model, hand.pairs, hand.means, identity, configs[0].norm_scales), configs)


@cache
def hand_and_circuit(make) -> tuple[HandModel, Circuit]:
    hand = make()
    return hand, pruned(hand, CONFIG)[0]


def test_means_in_the_order_of_a_file_give_the_same_circuit_and_scores() -> None:
    hand, circuit = hand_and_circuit(bracket_counter)
    shuffled = replace(hand, means=dict(sorted(hand.means.items(), reverse=True)))
    assert list(shuffled.means) != list(hand.means)
    assert pruned(shuffled, CONFIG)[0] == circuit


# --- the search -----------------------------------------------------------------------------------------------------


def test_one_minimal_keeps_what_is_needed() -> None:
    """Needed: 3 and 7 of ten."""
    assert one_minimal(list(range(10)), lambda kept: 0.0 if {3, 7} <= set(kept) else 1.0, 0.5) == [3, 7]


@pytest.mark.parametrize("seed", range(20))
def test_no_single_item_can_go(seed) -> None:
    """A loss without order or sense: sets of three items, drawn at random, that must not be broken all at once."""
    generator = torch.Generator().manual_seed(seed)
    triples = [set(torch.randperm(12, generator=generator)[:3].tolist()) for _ in range(6)]

    def loss(kept: list[int]) -> float:
        return sum(not triple <= set(kept) for triple in triples) / len(triples)

    kept = one_minimal(list(range(12)), loss, 0.5)
    assert loss(kept) <= 0.5
    assert all(loss([other for other in kept if other != item]) > 0.5 for item in kept)


def test_a_removal_that_makes_another_possible_is_followed_up() -> None:
    """0 can go only when 2 is gone: it is tried again."""
    assert one_minimal([0, 1, 2], lambda kept: float(2 in kept and 0 not in kept or 1 not in kept), 0.5) == [1]


def test_many_useless_items_cost_few_trials() -> None:
    trials = []

    def loss(kept: list[int]) -> float:
        trials.append(len(kept))
        return 0.0 if set(range(96, 100)) <= set(kept) else 1.0

    assert one_minimal(list(range(100)), loss, 0.5) == [96, 97, 98, 99]
    assert len(trials) <= 20


def test_overlap_is_shared_nodes_over_all_nodes() -> None:
    """{a0, a1, b0} and {a1, b0, b2}: 2 of 4; each against {a1}: 1 of 3. Mean (1/2 + 1/3 + 1/3) / 3."""
    circuits = [{"a": [0, 1], "b": [0]}, {"a": [1], "b": [0, 2]}, {"a": [1]}]
    assert node_overlap(circuits) == pytest.approx((1 / 2 + 1 / 3 + 1 / 3) / 3)
    assert node_overlap(circuits[:1]) is None


# --- on models built by hand ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [copy_model, bracket_counter])
def test_pruning_finds_a_circuit_inside_the_true_one(make) -> None:
    hand, circuit = hand_and_circuit(make)
    assert circuit.status == "solved" and circuit.n_nodes > 0
    assert all(set(channels) <= set(hand.nodes.get(site, ())) for site, channels in circuit.nodes.items())


@pytest.mark.parametrize("make", [copy_model, bracket_counter])
def test_nodes_and_edges_are_1_minimal_on_validation(make) -> None:
    hand, circuit = hand_and_circuit(make)
    validation = FastEngine(hand.model, Prompts.of(hand.pairs["validation"]), hand.means)
    nodes = [(site, channel) for site, channels in circuit.nodes.items() for channel in channels]

    def gates(kept) -> torch.Tensor:
        by_site = {site: torch.zeros_like(mean) for site, mean in hand.means.items()}
        for site, channel in kept:
            by_site[site][channel] = 1
        return torch.cat(list(by_site.values()))

    minimal, target = circuit.minimal_edges or [], circuit.target_loss
    removed = set(circuit.edges) - set(minimal)
    assert validation.loss(gates(nodes)) <= target
    assert validation.loss(gates(nodes), removed) <= target
    assert all(validation.loss(gates(kept)) > target for kept in combinations(nodes, len(nodes) - 1))
    assert all(validation.loss(gates(nodes), removed | {edge}) > target for edge in minimal)


@pytest.mark.parametrize("make", [copy_model, bracket_counter])
def test_the_artefact_states_both_edge_lists_and_their_scores(make) -> None:
    hand, circuit = hand_and_circuit(make)
    assert circuit.minimal_edges is not None and set(circuit.minimal_edges) <= set(circuit.edges)
    assert circuit.minimal_scores and circuit.minimal_scores["validation"].loss <= circuit.target_loss
    assert circuit.unswept and circuit.unswept >= (circuit.n_nodes, circuit.n_edges)
    assert Circuit.from_dict(circuit.to_dict()) == circuit
    stored = StoredCircuit(circuit, hand.means, hand.pairs)
    assert evaluate_circuit(hand.model, stored, "test").loss == pytest.approx(circuit.scores["test"].loss, abs=1e-5)


def test_without_a_sweep_there_is_one_edge_list_only() -> None:
    circuit = pruned(copy_model(), PruneConfig(steps=5, sweep="none"))[0]
    assert (circuit.unswept, circuit.minimal_edges, circuit.minimal_scores) == (None, None, None)


def test_the_same_settings_give_the_same_circuit_and_company_changes_nothing() -> None:
    hand, circuit = hand_and_circuit(bracket_counter)
    again = pruned(hand, replace(CONFIG, seed=4), CONFIG)
    assert again[1].to_dict() == circuit.to_dict()
    assert again[0].seed == 4


def test_a_target_out_of_reach_is_a_result() -> None:
    circuit = pruned(copy_model(), replace(CONFIG, target_loss=1e-9))[0]
    assert circuit.status == "not_solved" and circuit.unswept is None
    assert min(loss for _, loss in circuit.loss_curve) > 1e-9


def test_the_loss_curve_runs_from_one_node_to_all() -> None:
    hand, circuit = hand_and_circuit(copy_model)
    counts = [count for count, _ in circuit.loss_curve]
    assert counts == sorted(set(counts)) and len(counts) >= 10
    assert (counts[0], counts[-1]) == (1, sum(map(len, hand.means.values())))


def test_frozen_scales_are_part_of_the_artefact() -> None:
    hand = bracket_counter()
    circuit = pruned(hand, replace(CONFIG, norm_scales="whole"))[0]
    assert circuit.norm_scales == "whole"
    stored = StoredCircuit(circuit, hand.means, hand.pairs)
    assert evaluate_circuit(hand.model, stored, "test").loss == pytest.approx(circuit.scores["test"].loss, abs=1e-5)


def test_only_seed_and_price_may_differ_in_one_pass() -> None:
    with pytest.raises(ValueError, match="seed and k_coef"):
        pruned(copy_model(), CONFIG, replace(CONFIG, steps=7))


@given(st.sets(st.integers(0, 29), min_size=1), st.integers(1, 7))
def test_a_sweep_that_was_interrupted_ends_like_one_that_was_not(needed: set[int], n_trials: int) -> None:
    def loss(kept: list[int]) -> float:
        return float(len(needed - set(kept)))

    pieces = Minimiser(range(30), loss, 0.0)
    while not pieces.done:
        pieces.run(n_trials)
    assert pieces.kept == one_minimal(range(30), loss, 0.0) == sorted(needed)


@pytest.mark.parametrize(
    ("make", "starts"), [(bracket_counter, 2), pytest.param(copy_model, 4, marks=pytest.mark.slow)]
)
def test_several_starts_end_in_a_circuit_no_larger(make, starts: int) -> None:
    hand, circuit = hand_and_circuit(make)
    (best,) = pruned(hand, replace(CONFIG, starts=starts))
    assert best.n_edges <= circuit.n_edges and best.nodes == hand.nodes


def test_two_that_cancel_can_only_go_with_what_feeds_them() -> None:
    """Each moves the answer by itself, in the model: a circuit with one of them alone is wrong, with none right."""
    known = known_model("cancelling_pair", "small", 0)
    objective = pruning_problem(known).objective("validation", PruneConfig(require="faithful"))
    space = known.model.space
    truth = space.mask(known.nodes(known.truth))
    pair = space.mask(known.nodes(known.lookalikes["the pair without the head"]))
    one_by_one = sweep_nodes(objective, (truth | pair).float(), objective.target)
    assert space.nodes(one_by_one) == space.nodes(truth | pair)
    assert space.nodes(sweep_strands(objective, one_by_one, objective.target)) == space.nodes(truth)
