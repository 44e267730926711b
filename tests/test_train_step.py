"""The fast step against the plain one, one step at a time."""

import pytest
import torch
from torch import Tensor

from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.sparsity.costs import Cost, CostTable
from thinwire.training.evaluate import next_token_loss
from thinwire.training.reference import ReferenceOptimizer, reference_loss, reference_step, sort_scatter

MODEL = ModelConfig(vocab_size=40, context=12, n_layer=2, d_model=32, d_head=8)
SINK = ModelConfig(vocab_size=40, context=12, n_layer=1, d_model=32, d_head=8, sink=True, positions="learned")
SPARSE = Cost(dense=1.0, sparse=0.0, per_nonzero=0.0)


def always_sparse(config: ModelConfig) -> CostTable:
    """A table by which every product uses the zeros."""
    d, n = config.d_model, config.d_mlp
    return dict.fromkeys(((d, d), (n, d), (d, n), (config.vocab_size, d)), SPARSE)


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


@pytest.mark.parametrize("config", [MODEL, SINK])
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
