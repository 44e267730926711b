"""Completeness: a backup outside the circuit shows when parts are taken out of both."""

from copy import deepcopy
from dataclasses import replace

import pytest
from judged import budget_of, material_of, subject_of
from micro_model import HandModel, copy_model

from thinwire.circuits.ablation import ablate, node_means
from thinwire.circuits.prompts import logit_difference
from thinwire.model.hooks import Hook, identity
from thinwire.model.nodes import list_nodes
from thinwire.verification.completeness import completeness
from thinwire.verification.finding import NotRun
from thinwire.verification.variants import sample, single


def with_a_second_head() -> HandModel:
    """The copy model whose second layer's other head also copies to the question, into the same channel."""
    built = copy_model()
    model = deepcopy(built.model)
    weight = model.get_parameter
    for name in ("q", "k", "v"):
        weight(f"blocks.1.attn.{name}.weight")[16:] = 0.0
        weight(f"blocks.1.attn.{name}.weight")[16] = weight(f"blocks.1.attn.{name}.weight")[0]
    weight("blocks.1.attn.out.weight")[5, 16] = 1.0
    return replace(built, model=model, means=node_means(model, built.windows))


def test_the_true_circuit_is_complete() -> None:
    hand = copy_model()
    found = completeness(subject_of(hand), material_of(hand), budget_of(survey_pairs=16, draws=2))
    assert found.passed and found.gap < 0.04
    assert len(found.sets) == 19 + 3 * 2 and found.worst == found.sets[0].gap


def test_one_of_two_copies_is_not() -> None:
    """Without its head the circuit keeps nothing, the model the other head's half."""
    hand = with_a_second_head()
    found = completeness(subject_of(hand), material_of(hand), budget_of(survey_pairs=16, draws=2))
    value = next(s for s in found.sets if s.n_nodes == 1)
    assert value.gap == found.worst
    assert abs(value.circuit) < 0.1 and 0.3 < value.model < 0.7
    assert found.passed is False and found.gap > 0.06


def test_a_share_is_what_the_model_keeps_without_the_set() -> None:
    hand = copy_model()
    material = material_of(hand)
    (only,) = completeness(subject_of(hand), material, budget_of(survey_pairs=16, nodes=1, draws=0)).sets
    (removed,) = single(sample(list_nodes(hand.nodes), 1, 0))
    prompts = material.test_pairs(16)

    def favour(hook: Hook = identity) -> float:
        return float((logit_difference(hand.model, prompts, hook) * prompts.sign).mean())

    assert only.model == pytest.approx(favour(ablate(hand.model, removed, hand.means)) / favour(), abs=1e-4)


def test_a_circuit_that_favours_nothing_cannot_lose_it() -> None:
    hand = copy_model()
    with pytest.raises(NotRun, match="do not both favour the right answer"):
        completeness(subject_of(hand, nodes={"embed": [8]}, edges=[]), material_of(hand), budget_of(survey_pairs=8))
