"""Simplicity: the best step is the least-squares one; a switch is told from a graded node."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import budget_of, material_of, subject_of
from micro_model import bracket_counter, copy_model

from thinwire.verification.simplicity import StepFunction, best_step, simplicity


def squared_error(x: torch.Tensor, step: StepFunction) -> float:
    return float((torch.where(x < step.threshold, step.low, step.high) - x).square().sum())


def test_two_clusters_give_their_means() -> None:
    step = best_step(torch.tensor([0.0, 1.0, 10.0, 12.0]))
    assert (step.low, step.high) == (0.5, 11.0)
    assert 1.0 < step.threshold < 10.0


def test_a_constant_stays_what_it_is() -> None:
    assert best_step(torch.full((5,), 3.0)) == StepFunction(3.0, 3.0, 3.0)


@settings(max_examples=40)
@given(st.lists(st.integers(-20, 20), min_size=2, max_size=8))
def test_no_other_cut_is_better(values: list[int]) -> None:
    x = torch.tensor([float(v) for v in values])
    found = squared_error(x, best_step(x))
    for cut in sorted(set(values)):
        below, above = x[x < cut], x[x >= cut]
        if len(below):
            assert found <= squared_error(x, StepFunction(float(cut), float(below.mean()), float(above.mean()))) + 1e-3


def test_the_bracket_circuit_may_be_a_chain_of_switches_at_its_end() -> None:
    """The token is a bracket or not, the neuron fires or not; the count before it is graded over lengths and places."""
    hand = bracket_counter()
    found = simplicity(subject_of(hand), material_of(hand), budget_of())
    binary = {node.name for node in found.nodes if node.binary}
    assert {"embed:0", "0.attn.in:0", "0.attn.v:0"} <= binary
    assert found.n_binary == len(binary) and found.n_looked_at == 8


def test_all_at_once_is_measured_and_bounds_are_kept() -> None:
    hand = copy_model()
    found = simplicity(subject_of(hand), material_of(hand), budget_of(nodes=4))
    assert found.n_looked_at == len(found.nodes) == 4
    assert found.all_loss == pytest.approx(found.circuit_loss, abs=0.1) and found.all_accuracy == 1.0
