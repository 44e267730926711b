"""Models whose one circuit is known: every verdict is "faithful", and the pruning recovers nodes and edges exactly."""

from dataclasses import replace

import pytest
from judged import budget_of, material_of, subject_of
from micro_model import HandModel, bracket_counter, copy_model

from thinwire.circuits.ablation import node_means
from thinwire.circuits.graph import Circuit
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.prune import Identity, prune
from thinwire.verification.controls import controls
from thinwire.verification.examine import examine
from thinwire.verification.pruner import Pruned
from thinwire.verification.registry import TESTS
from thinwire.verification.seeds import seeds
from thinwire.verification.verdict import judge

HAND = [pytest.param(copy_model, id="copy"), pytest.param(bracket_counter, id="bracket")]
FEW = budget_of(
    random_sets=20, null_pairs=8, pairs=16, survey_pairs=16, search_pairs=8, draws=2, restarts=1, adversary_steps=4
)
CONFIG = PruneConfig(steps=100, k_coef=3e-3, target_loss=0.05)


def pruned(hand: HandModel, seed: int = 0, forbidden: dict[str, list[int]] | None = None) -> Circuit:
    config = replace(CONFIG, seed=seed)
    identity = Identity(hand.task, 1, "f", "t")
    return prune(hand.model, hand.pairs, hand.means, config, identity, forbidden=forbidden)


def pruner_of(hand: HandModel):
    def prune_again(model, pairs, seed, forbidden) -> Pruned:
        means = hand.means if model is hand.model else node_means(model, hand.windows)
        found = pruned(replace(hand, model=model, pairs=dict(pairs), means=means), seed, forbidden)
        return Pruned(found.nodes, found.status == "solved", found.scores["test"].loss, found.n_edges)

    return prune_again


@pytest.mark.parametrize("build", HAND)
def test_the_true_circuit_is_faithful(build) -> None:
    hand = build()
    findings = examine(subject_of(hand), material_of(hand), FEW)
    assert list(findings) == list(TESTS)
    verdict = judge(findings)
    assert (verdict.level, verdict.paper, verdict.reasons) == ("faithful", "sufficient and necessary", [])
    assert verdict.scope.outside == [] and verdict.scope.holds == list(hand.shifted)
    failed = [name for name, finding in findings.items() if finding.passed is False]
    assert failed == []
    not_run = {name for name, finding in findings.items() if finding.outcome == "not run"}
    assert not_run == {"selectivity", "controls", "seeds"}  # one task only; the fast budget does not prune
    assert all(finding.to_dict()["sentence"].endswith(".") for finding in findings.values())


@pytest.mark.parametrize("build", HAND)
def test_the_pruning_recovers_nodes_and_edges_exactly(build) -> None:
    hand = build()
    found = pruned(hand)
    assert found.status == "solved"
    assert found.nodes == hand.nodes
    assert found.edges == hand.circuit.edges
    assert found.minimal_edges == hand.circuit.edges


@pytest.mark.slow
def test_the_same_seed_gives_the_same_findings() -> None:
    hand = bracket_counter()

    def run():
        return examine(subject_of(hand), material_of(hand), FEW, seed=3)

    assert run() == run()


@pytest.mark.slow
def test_the_bracket_counter_holds_one_circuit() -> None:
    """Other seeds find the same nodes, and with these forbidden there is none."""
    hand = bracket_counter()
    material = material_of(hand, pairs=hand.pairs, pruner=pruner_of(hand))
    found = seeds(subject_of(hand), material, budget_of(seeds=1, rounds=2))
    assert found.passed and found.n_circuits == 1
    assert found.node_overlap == 1.0 and found.core == hand.nodes


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_where_nothing_is_to_be_found_no_circuit_as_small_is() -> None:
    hand = bracket_counter()
    material = material_of(hand, pairs=hand.pairs, pruner=pruner_of(hand))
    found = controls(subject_of(hand), material, budget_of(controls=True))
    assert found.passed, found.sentence
    assert not found.controls["permuted"].solved
