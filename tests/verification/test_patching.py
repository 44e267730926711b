"""Patching from other prompts: who gives to whom, agreement in numbers, and each direction by itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from judged import budget_of, material_of, subject_of
from micro_model import copy_model

from thinwire.circuits.prompts import Prompts
from thinwire.verification.donors import cross_pair_donors, donors
from thinwire.verification.finding import NotRun
from thinwire.verification.patching import Agreement, Patched


def test_agreement_by_hand() -> None:
    """Of four effects two matter in one of both systems: (0.5, 0.4) and (0.2, -0.1)."""
    found = Agreement.of([0.5, 0.2, 0.01, 0.0], [0.4, -0.1, 0.02, 0.04])
    assert (found.n_matter, found.same_sign, found.correlation) == (2, 0.5, None)
    assert found.error == pytest.approx((0.1 + 0.3) / (0.4 + 0.1))
    assert not found.holds
    assert Agreement.of([0.5, 0.3, 0.1], [0.5, 0.31, 0.1]).holds
    assert not Agreement.of([], []).holds and not Agreement.of([0.5], [0.0]).holds


def test_the_effect_of_a_patch_is_a_share_of_the_way() -> None:
    """Sides 2 apart on average; the first clean prompt goes half of the way, the first corrupt one all of it."""
    sign = torch.tensor([1.0, 1.0, -1.0, -1.0])
    prompts = Prompts(torch.zeros(4, 1, dtype=torch.long), torch.ones(4, dtype=torch.long), sign, 1, 2)
    patched = Patched(prompts, torch.tensor([1.0, 1.0, -1.0, -1.0]), torch.tensor([[0.0, 1.0, 1.0, -1.0]]))
    assert patched.effects().tolist() == [[0.5, 0.0, 1.0, 0.0]]


def test_donors_are_of_the_other_side_of_another_pair_of_the_same_length() -> None:
    lengths = torch.tensor([5, 5, 7, 5, 5, 7, 5, 7])  # pairs 1, 2 and 4: 5 and 5, 5 and 7, 5 and 7; pair 3: 7 and 5
    prompts = Prompts(torch.zeros(8, 7, dtype=torch.long), lengths, torch.ones(8), 1, 2)
    taken, foreign = cross_pair_donors(prompts, seed=0)
    # Row 3 (5 tokens) has corrupt rows 4 and 6 of its length, row 2 (7 tokens) rows 5 and 7; row 4 has clean rows 1, 3.
    assert [int(lengths[taken[row]]) for row in (0, 1, 2, 3, 4, 6)] == [5, 5, 7, 5, 5, 5]
    assert all((int(taken[row]) >= 4) == (row < 4) for row in range(8))
    assert all(int(taken[row]) % 4 != row % 4 for row in range(8))
    assert foreign == 1.0
    alone, none = cross_pair_donors(replace(prompts, lengths=torch.tensor([3, 4, 5, 6] * 2)), seed=0)
    assert alone.tolist() == [4, 5, 6, 7, 0, 1, 2, 3] and none == 0.0


def test_circuit_and_model_react_alike_to_other_pairs() -> None:
    hand = copy_model()
    found = donors(subject_of(hand), material_of(hand), budget_of(survey_pairs=32, draws=2))
    assert found.passed and found.accuracy > 0.99
    assert found.moved_accuracy is not None and found.moved_accuracy > 0.99 and found.n_moved > 0
    assert found.n_sets == 6 and found.foreign > 0.9
    assert found.to_clean.error is not None and found.to_clean.error < 0.1


def test_a_circuit_without_what_steers_it_reacts_unlike_the_model() -> None:
    """The key of the second head is gone: the question no longer finds the call."""
    hand = copy_model()
    nodes = {site: channels for site, channels in hand.nodes.items() if site != "1.attn.k"}
    edges = [edge for edge in hand.circuit.edges if edge.target_site != "1.attn.k"]
    found = donors(subject_of(hand, nodes=nodes, edges=edges), material_of(hand), budget_of(survey_pairs=32, draws=2))
    assert found.passed is False


def test_without_pairs_of_one_length_or_with_uneven_sides_it_is_not_run() -> None:
    hand = copy_model()
    few = material_of(hand, test=hand.prompts.pairs(torch.tensor([0])))
    with pytest.raises(NotRun, match="only 0 % of the prompts have another pair of their length"):
        donors(subject_of(hand), few, budget_of())
    tokens = hand.pairs["test"]
    shorter = replace(tokens, corrupt_length=tokens.corrupt_length - (np.arange(len(tokens)) == 4))
    with pytest.raises(NotRun, match="equally many tokens"):
        donors(subject_of(hand), material_of(hand, test=Prompts.of(shorter)), budget_of())
