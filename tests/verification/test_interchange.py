"""Interchange interventions: the batch equals patching by hand; agreement is told from disagreement."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from judged import budget_of, material_of, subject_of
from micro_model import bracket_counter, copy_model

from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.verification.finding import NotRun
from thinwire.verification.interchange import interchange
from thinwire.verification.measures import correlation, normalised_error


def test_circuit_and_model_agree_on_the_true_circuit() -> None:
    hand = copy_model()
    found = interchange(subject_of(hand), material_of(hand), budget_of())
    assert found.passed
    # What carries the answer moves it all the way; what only steers attention is equal on both sides: 8 of 19 matter.
    assert found.n_matter == 8 and found.same_sign == 1.0
    assert found.error is not None and found.error < 0.05
    assert found.carried == pytest.approx(1.0, abs=0.01)
    assert len(found.pairs) == 8


def test_an_effect_is_what_patching_by_hand_gives() -> None:
    hand, name = bracket_counter(), "0.mlp.neuron:0"
    found = interchange(subject_of(hand), material_of(hand), budget_of())
    (effect,) = [e for e in found.nodes if e.name == name]
    prompts, n = hand.prompts, hand.prompts.n_pairs
    seen: dict[str, torch.Tensor] = {}

    def look(site: str, x: torch.Tensor) -> torch.Tensor:
        seen[site] = x
        return x

    before = logit_difference(hand.model, prompts, look)

    def patch(site: str, x: torch.Tensor) -> torch.Tensor:
        if site != "0.mlp.neuron":
            return x
        x = x.clone()
        x[:n, :, 0], x[n:, :, 0] = seen[site][n:, :, 0], seen[site][:n, :, 0]
        return x

    after = logit_difference(hand.model, prompts, patch)
    way = (before[:n] - before[n:]).mean()
    moved = torch.cat([before[:n] - after[:n], after[n:] - before[n:]]).mean()
    assert effect.model == pytest.approx(float(moved / way), abs=1e-5)


def test_nodes_that_do_nothing_in_the_model_disagree() -> None:
    """In the circuit of a dead path nothing moves either: no node matters, and that is no agreement."""
    hand = copy_model()
    idle = subject_of(hand, nodes={"embed": [8, 9], "final": [10]}, edges=[])
    found = interchange(idle, material_of(hand), budget_of())
    assert found.passed is False
    assert found.n_matter == 0 and found.same_sign is None and found.error is None


def test_pairs_of_unequal_length_are_refused_by_name() -> None:
    hand = bracket_counter()
    tokens = hand.pairs["test"]
    shorter = replace(tokens, corrupt_length=tokens.corrupt_length - (np.arange(len(tokens)) == 4))
    with pytest.raises(NotRun, match=r"of task bracket 1 of 64 have not: pair 5 \(\d+ and \d+ tokens\)"):
        interchange(subject_of(hand), material_of(hand, test=Prompts.of(shorter)), budget_of())


def test_bounds_draw_nodes_and_edges_and_the_seed_decides() -> None:
    hand = copy_model()

    def names(seed: int) -> list[str]:
        found = interchange(subject_of(hand), material_of(hand), budget_of(nodes=5, edges=3), seed)
        return [e.name for e in found.nodes + found.pairs]

    assert len(names(0)) == 8
    assert names(0) == names(0) != names(1)


def test_numbers_of_agreement() -> None:
    assert normalised_error([1.0, 0.0], [0.5, 0.5]) == pytest.approx((0.5 + 0.5) / 1.0)
    assert normalised_error([1.0], [0.0]) is None
    x = torch.tensor([1.0, 2.0, 3.0])
    assert correlation(x, -x) == pytest.approx(-1.0)
    assert correlation(x, torch.ones(3)) is None
