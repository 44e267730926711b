"""Gates: a step forward, a sigmoid backward, drawn near 0.1, kept in [-1, 1]."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_builders import SMALL, small_means, small_prompts, sparse_model, widths_of

from thinwire.model.config import ModelConfig
from thinwire.model.nodes import node_space
from thinwire.pruning.engine import PlainEngine
from thinwire.pruning.gates import NodeGates
from thinwire.pruning.objective import Objective

SPACE = node_space(SMALL)


def gates(seed: int = 0) -> NodeGates:
    return NodeGates(SPACE, torch.Generator().manual_seed(seed))


def test_a_gate_is_open_from_zero_on() -> None:
    g = gates()
    with torch.no_grad():
        g.tau[:4] = torch.tensor([-1.0, -1e-7, 0.0, 0.3])
    assert g.open()[:4].tolist() == [0, 0, 1, 1]


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8))
def test_the_gradient_is_the_sigmoids(taus: list[float]) -> None:
    """d/d tau of 3 x gate: 3 s (1 - s) with s = 1 / (1 + e^-tau); at tau = 0 that is 3 / 4."""
    g = gates()
    with torch.no_grad():
        g.tau[: len(taus)] = torch.tensor(taus)
    (3 * g.open()).sum().backward()
    assert g.tau.grad is not None
    for tau, gradient in zip(taus, g.tau.grad.tolist(), strict=False):
        s = 1 / (1 + math.exp(-tau))
        assert gradient == pytest.approx(3 * s * (1 - s), rel=1e-5)


def test_gates_start_open_near_a_tenth() -> None:
    g = NodeGates(node_space(ModelConfig(n_layer=1, d_model=1424)), torch.Generator().manual_seed(0))
    assert g.tau.mean().item() == pytest.approx(0.1, abs=3e-4)  # standard error 0.01 / sqrt(20,000) = 7e-5
    assert g.tau.std().item() == pytest.approx(0.01, rel=0.03)
    assert g.open().all()


def test_the_start_follows_from_the_seed() -> None:
    assert torch.equal(gates(5).tau, gates(5).tau)
    assert not torch.equal(gates(5).tau, gates(6).tau)


def test_clamping_keeps_tau_within_one() -> None:
    g = gates()
    with torch.no_grad():
        g.tau[:3] = torch.tensor([-3.0, 0.5, 1.5])
    g.clamp_()
    assert g.tau[:3].tolist() == [-1.0, 0.5, 1.0]
    assert g.tau.requires_grad


def test_there_is_one_gate_per_node() -> None:
    g = gates()
    assert g.tau.numel() == sum(widths_of().values())


def test_the_loss_reaches_the_gates_through_the_objective() -> None:
    model, prompts, g = sparse_model(), small_prompts(), gates()
    objective = Objective(PlainEngine(model, prompts, small_means()), {"mean": 1.0}, 0.15)
    _, rise = objective.gradients(g.open()[None], [torch.arange(4)], [torch.Generator()])
    g.open().backward(rise[0])
    assert g.tau.grad is not None
    assert g.tau.grad.count_nonzero() > g.tau.numel() / 4


def test_forbidden_gates_stay_shut() -> None:
    g = NodeGates(SPACE, torch.Generator().manual_seed(0), {"embed": [2], "final": [0, 7]})
    assert SPACE.nodes(1 - g.open()) == {"embed": [2], "final": [0, 7]}
