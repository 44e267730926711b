"""Gates: a step forward, a sigmoid backward, drawn near 0.1, kept in [-1, 1]."""

import math

import pytest
import torch
from hand_circuit import random_means, random_prompts, sparse_model, widths_of
from hypothesis import given
from hypothesis import strategies as st

from thinwire.circuits.ablation import isolate
from thinwire.circuits.prompts import logit_difference
from thinwire.pruning.gates import NodeGates


def gates(seed: int = 0, means=None) -> NodeGates:
    return NodeGates(means or random_means(), torch.Generator().manual_seed(seed))


def test_a_gate_is_open_from_zero_on() -> None:
    g = NodeGates({"embed": torch.zeros(4)}, torch.Generator())
    with torch.no_grad():
        g.tau.copy_(torch.tensor([-1.0, -1e-7, 0.0, 0.3]))
    assert g.open().tolist() == [0, 0, 1, 1]


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8))
def test_the_gradient_is_the_sigmoids(taus: list[float]) -> None:
    """d/d tau of 3 x gate: 3 s (1 - s) with s = 1 / (1 + e^-tau); at tau = 0 that is 3 / 4."""
    g = NodeGates({"embed": torch.zeros(len(taus))}, torch.Generator())
    with torch.no_grad():
        g.tau.copy_(torch.tensor(taus))
    (3 * g.open()).sum().backward()
    assert g.tau.grad is not None
    for tau, gradient in zip(taus, g.tau.grad.tolist(), strict=True):
        s = 1 / (1 + math.exp(-tau))
        assert gradient == pytest.approx(3 * s * (1 - s), rel=1e-5)


def test_gates_start_open_near_a_tenth() -> None:
    g = NodeGates({"embed": torch.zeros(20_000)}, torch.Generator().manual_seed(0))
    assert g.tau.mean().item() == pytest.approx(0.1, abs=3e-4)  # standard error 0.01 / sqrt(20,000) = 7e-5
    assert g.tau.std().item() == pytest.approx(0.01, rel=0.03)
    assert g.open().all()


def test_the_start_follows_from_the_seed() -> None:
    assert torch.equal(gates(5).tau, gates(5).tau)
    assert not torch.equal(gates(5).tau, gates(6).tau)


def test_clamping_keeps_tau_within_one() -> None:
    g = NodeGates({"embed": torch.zeros(3)}, torch.Generator())
    with torch.no_grad():
        g.tau.copy_(torch.tensor([-3.0, 0.5, 1.5]))
    g.clamp_()
    assert g.tau.tolist() == [-1.0, 0.5, 1.0]
    assert g.tau.requires_grad


def test_there_is_one_gate_per_node() -> None:
    g = gates()
    assert g.tau.numel() == sum(widths_of().values())
    assert g.sizes == widths_of()


def test_gates_do_what_ablation_does() -> None:
    """The circuit that is learned on is the circuit that is scored."""
    model, means, prompts = sparse_model(), random_means(), random_prompts()
    g = gates(means=means)
    with torch.no_grad():
        g.tau.copy_(torch.randn(g.tau.shape, generator=torch.Generator().manual_seed(4)))
        learned_on = logit_difference(model, prompts, g.hook(g.open()))
        chosen = (g.tau >= 0).nonzero().flatten()
        scored = logit_difference(model, prompts, isolate(model, g.nodes(chosen), means))
    torch.testing.assert_close(learned_on, scored, atol=1e-4, rtol=1e-4)


def test_the_loss_reaches_the_gates_and_nothing_else() -> None:
    model, prompts, g = sparse_model(), random_prompts(), gates()
    logit_difference(model, prompts, g.hook(g.open())).sum().backward()
    assert g.tau.grad is not None
    assert g.tau.grad.count_nonzero() > g.tau.numel() / 4
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_gates_gradient_is_activation_less_mean_times_what_follows() -> None:
    """One gate g at channel c of `final`: d (sum of x g + mean (1 - g)) / d tau = s (1 - s) sum (x_c - mean_c)."""
    means = {"final": torch.tensor([0.5, -2.0])}
    g = NodeGates(means, torch.Generator())
    with torch.no_grad():
        g.tau.zero_()
    x = torch.tensor([[1.0, 1.0], [3.0, 5.0]])
    g.hook(g.open())("final", x).sum().backward()
    assert g.tau.grad is not None
    assert g.tau.grad.tolist() == [0.25 * (0.5 + 2.5), 0.25 * (3.0 + 7.0)]


def test_positions_of_tau_are_named_by_site_and_channel() -> None:
    g = NodeGates({"embed": torch.zeros(3), "0.attn.in": torch.zeros(2), "final": torch.zeros(2)}, torch.Generator())
    assert g.nodes(torch.tensor([6, 0, 2, 4])) == {"embed": [0, 2], "0.attn.in": [1], "final": [1]}
    assert g.nodes(torch.tensor([], dtype=torch.long)) == {}


def test_other_sites_pass_the_gates_untouched() -> None:
    g = NodeGates({"embed": torch.ones(2)}, torch.Generator())
    x = torch.tensor([[2.0, 3.0]])
    assert g.hook(torch.zeros(2))("0.attn.pattern", x) is x
    assert g.hook(torch.zeros(2))("embed", x).tolist() == [[1.0, 1.0]]
