"""Stochastic ablation: flat for the true circuit, not for one that lives on the others' silence."""

import pytest
from judged import budget_of, material_of, subject_of
from micro_model import HandModel, bracket_counter, copy_model

from thinwire.circuits.prompts import logit_difference, task_loss
from thinwire.verification.stochastic import FRACTIONS, Stochastic, stochastic
from thinwire.verification.subject import Subject


def run(hand: HandModel, subject: Subject, seed: int = 0) -> Stochastic:
    return stochastic(subject, material_of(hand), budget_of(pairs=16, draws=3), seed)


@pytest.fixture(scope="module")
def found():
    hand = copy_model()
    return run(hand, subject_of(hand))


def test_the_true_circuit_stays_flat(found) -> None:
    assert found.passed
    assert [share.fraction for share in found.curve] == list(FRACTIONS)
    assert all(share.lowest <= share.mean <= share.highest for share in found.curve)


def test_the_ends_are_the_circuit_and_the_whole_model(found) -> None:
    hand = copy_model()
    prompts = material_of(hand).test_pairs(16)
    whole = float(task_loss(logit_difference(hand.model, prompts), prompts.sign))
    assert found.curve[-1].mean == pytest.approx(whole, abs=1e-6)
    assert found.curve[0].mean < 0.01


def test_without_a_needed_node_the_curve_is_not_flat() -> None:
    hand = bracket_counter()
    nodes = {site: channels for site, channels in hand.nodes.items() if site != "0.mlp.neuron"}
    result = run(hand, subject_of(hand, nodes=nodes))
    assert result.passed is False
    assert result.worst > 0.3


def test_the_seed_decides(found) -> None:
    hand = copy_model()
    assert run(hand, subject_of(hand)) == found
    assert run(hand, subject_of(hand), seed=1).curve != found.curve
