"""Selectivity: the own task hurts, others do not, and text is measured beside them."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from judged import budget_of, material_of, subject_of
from micro_model import CALL, COPY_ANSWERS, DECOY_A, MARK_A, MARK_B, HandModel, copy_model, task_tokens

from thinwire.circuits.prompts import Prompts
from thinwire.verification.selectivity import LossChange, selectivity, text_loss


def other_task(hand: HandModel) -> Prompts:
    """A task of a second readout: which marker is the current token, told by an answer that reads `embed` alone."""
    model = hand.model
    model.unembed.weight[13, 0], model.unembed.weight[14, 0] = 2.0, -2.0
    clean = [[DECOY_A, CALL, token, MARK_A] for token in range(11, 23)]
    corrupt = [row[:-1] + [MARK_B] for row in clean]
    return Prompts.of(task_tokens(clean, corrupt, (13, 14)))


@pytest.fixture
def hand() -> HandModel:
    from copy import deepcopy

    built = copy_model()
    return replace(built, model=deepcopy(built.model))


def test_a_task_with_its_own_nodes_is_left_alone(hand: HandModel) -> None:
    """Only the second head is claimed: the other task reads the embedding and does not need it."""
    nodes = {site: channels for site, channels in hand.nodes.items() if site.startswith("1.attn")}
    material = material_of(hand, others={"other": other_task(hand)})
    found = selectivity(subject_of(hand, nodes=nodes), material, budget_of(text_windows=8))
    assert found.passed
    assert found.own.rise > 0.5
    assert found.others["other"].rise < 0.1
    assert found.n_tokens == 8 * 20


def test_a_removal_that_breaks_both_tasks_is_not_selective(hand: HandModel) -> None:
    """The marker's own channel carries both tasks."""
    material = material_of(hand, others={"other": other_task(hand)}, windows=None)
    found = selectivity(subject_of(hand, nodes={"embed": [0], "final": [0]}), material, budget_of())
    assert found.passed is False
    assert found.others["other"].rise > 0.5
    assert found.text is None


def test_tasks_that_the_model_does_not_do_do_not_count(hand: HandModel) -> None:
    wrong = replace(hand.prompts, answer=COPY_ANSWERS[1], other=COPY_ANSWERS[0])
    found = selectivity(subject_of(hand), material_of(hand, others={"wrong": wrong}), budget_of())
    assert found.others == {} and found.passed is None


def test_the_own_task_is_no_other_task(hand: HandModel) -> None:
    found = selectivity(subject_of(hand), material_of(hand, others={"copy": hand.prompts}), budget_of())
    assert found.others == {}


def test_text_loss_is_the_mean_over_all_predicted_tokens(hand: HandModel) -> None:
    windows = hand.windows[:40]  # more than one batch
    logits = hand.model(windows[:, :-1])
    expected = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
    assert text_loss(hand.model, windows) == pytest.approx(float(expected), abs=1e-5)
    assert LossChange(1.0, 1.5).rise == 0.5
    assert torch.is_tensor(expected)
