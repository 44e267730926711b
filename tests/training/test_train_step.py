"""The fast step against the plain one, one step at a time."""

import pytest
import torch
from torch import Tensor

from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.sparsity.costs import Cost, CostTable
from thinwire.training.loss import next_token_loss
from thinwire.training.optimizer import SparseOptimizer
from thinwire.training.reference import ReferenceOptimizer, reference_loss, reference_step, sort_scatter

MODEL = ModelConfig(vocab_size=40, context=12, n_layer=2, d_model=32, d_head=8)
SINK = ModelConfig(vocab_size=40, context=12, n_layer=1, d_model=32, d_head=8, sink=True, positions="learned")
WIDE = ModelConfig(vocab_size=40, context=12, n_layer=1, d_model=128, d_head=16)
SPARSE = Cost(dense=1.0, sparse=0.0, per_nonzero=0.0)
ACTIVATIONS = Cost(dense=1.0, sparse=0.0, per_nonzero=1.0, per_kept=0.0)


def always_sparse(config: ModelConfig) -> CostTable:
    """A table by which every product uses the zeros: those of weights, in `WIDE` those of activations."""
    d, n = config.d_model, config.d_mlp
    cost = ACTIVATIONS if config == WIDE else SPARSE
    return dict.fromkeys(((d, d), (n, d), (d, n), (config.vocab_size, d)), cost)


def windows(config: ModelConfig, seed: int, batch: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, config.vocab_size, (batch, config.context + 1), generator=generator)


def started(config: ModelConfig, n_steps: int = 3) -> GPT:
    """A model after a few plain steps, so that its weights are sparse and its biases are not 0."""
    torch.manual_seed(0)
    model = GPT(config)
    optimizer = ReferenceOptimizer(model, 0.1, 2)
    for step in range(n_steps):
        reference_step(model, optimizer, windows(config, step), 0.02, 0.25)
    return model


@pytest.mark.parametrize("config", [MODEL, SINK, WIDE])
@pytest.mark.parametrize("sparse", [False, True])
def test_loss_and_gradients_equal_the_plain_ones(config: ModelConfig, sparse: bool) -> None:
    model = started(config)
    batch = windows(config, 9)
    model.zero_grad()
    plain = reference_loss(model, batch, sort_scatter)
    plain.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.use_costs(always_sparse(config) if sparse else None)
    fast = next_token_loss(model, batch)
    fast.backward()
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def fast_step(model: GPT, optimizer: SparseOptimizer, batch: Tensor, rate: float, density: float) -> float:
    optimizer.prepare(rate, density)
    loss = next_token_loss(model, batch)
    loss.backward()
    optimizer.step(rate, density)
    return loss.item()


@pytest.mark.parametrize("config", [MODEL, WIDE])
def test_fifty_steps_from_the_same_state_agree_with_the_plain_step(config: ModelConfig) -> None:
    """Weights to float tolerance; supports but for weights within that tolerance of the threshold.

    Selection is discontinuous, so both steps start every time from the plain one's weights and moments.
    """
    rate, tolerance = 0.02, 1e-5
    torch.manual_seed(0)
    plain, fast = GPT(config), GPT(config)
    fast.use_costs(always_sparse(config))
    plain_optimizer, optimizer = ReferenceOptimizer(plain, 0.1, 2), SparseOptimizer(fast, 0.1, 2)
    for step in range(50):
        density = max(0.15, 1 - step / 30)
        batch = windows(config, step)
        fast.load_state_dict(plain.state_dict())
        if step:
            moments = {n: plain_optimizer.adam.state[p] for n, p in plain.named_parameters()}
            both = {f"m.{n}": s["exp_avg"].clone() for n, s in moments.items()}
            optimizer.load_state_tensors(both | {f"v.{n}": s["exp_avg_sq"].clone() for n, s in moments.items()}, step)
        expected, _ = reference_step(plain, plain_optimizer, batch, rate, density, select=sort_scatter)
        assert fast_step(fast, optimizer, batch, rate, density) == pytest.approx(expected, rel=1e-5)
        for (name, a), b in zip(plain.named_parameters(), fast.parameters(), strict=True):
            exchanged = (a != 0) != (b != 0)
            torch.testing.assert_close(a[~exchanged], b[~exchanged], rtol=1e-4, atol=tolerance, msg=f"{step} {name}")
            if exchanged.any():
                smallest = torch.where(a != 0, a.abs(), torch.inf).min()
                assert exchanged.sum() <= 2 and (torch.max(a.abs(), b.abs())[exchanged] - smallest < tolerance).all()


def test_free_running_trajectories_agree_in_float64() -> None:
    config = ModelConfig(vocab_size=24, context=8, n_layer=1, d_model=16, d_head=8)
    torch.manual_seed(0)
    plain, fast = GPT(config).double(), GPT(config).double()
    fast.load_state_dict(plain.state_dict())
    fast.use_costs(always_sparse(config))
    plain_optimizer, optimizer = ReferenceOptimizer(plain, 0.1, 2), SparseOptimizer(fast, 0.1, 2)
    for step in range(60):
        density = max(0.2, 1 - step / 30)
        reference_step(plain, plain_optimizer, windows(config, step), 0.02, density, select=sort_scatter)
        fast_step(fast, optimizer, windows(config, step), 0.02, density)
    for (name, a), b in zip(plain.named_parameters(), fast.parameters(), strict=True):
        assert torch.equal(a != 0, b != 0), name
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-11, msg=name)


def test_taps_see_the_forward_pass_that_training_takes() -> None:
    """The hooked forward over all weights against the untapped one over nonzeros."""
    model = started(MODEL)
    tokens = windows(MODEL, 3)[:, :-1]
    seen = []

    def hook(site: str, x: Tensor) -> Tensor:
        seen.append(site)
        return x

    with torch.no_grad():
        hooked = model(tokens, hook)
        model.use_costs(always_sparse(MODEL))
        torch.testing.assert_close(model(tokens), hooked, rtol=1e-4, atol=1e-5)
    assert "0.mlp.neuron" in seen and "final" in seen


@pytest.mark.parametrize("config", [MODEL, WIDE])
def test_the_same_seed_gives_the_same_bytes(config: ModelConfig) -> None:
    results = []
    for _ in range(2):
        model = started(config)
        model.use_costs(always_sparse(config))
        optimizer = SparseOptimizer(model, 0.1, 2)
        for step in range(4):
            fast_step(model, optimizer, windows(config, step), 0.02, 0.2)
        results.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_nan_reaches_the_loss_through_every_product() -> None:
    for name in ("embed.weight", "blocks.0.mlp.out.weight", "blocks.1.attn.v.bias", "unembed.weight", "bigram"):
        model = started(MODEL, 1)
        model.use_costs(always_sparse(MODEL))
        with torch.no_grad():
            model.get_parameter(name).fill_(torch.nan)
        assert next_token_loss(model, windows(MODEL, 0)).isnan(), name
