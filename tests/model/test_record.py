"""Recording gives the activations that the model goes on with, by name."""

import pytest
import torch

from thinwire.errors import UserError
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.model.record import record

CONFIG = ModelConfig(vocab_size=64, context=8, n_layer=2, d_model=32)


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(CONFIG)


TOKENS = torch.tensor([[1, 2, 3]])


def test_all_node_sites_unless_some_are_named(model: GPT) -> None:
    found = record(model, TOKENS)
    assert found.keys() == set(model.space.sites)
    assert {site: x.shape for site, x in found.items()} == {
        site: (1, 3, width) for site, width in model.space.widths.items()
    }
    assert not any(x.requires_grad for x in found.values())


def test_patterns_name_sites_scales_and_attention(model: GPT) -> None:
    assert record(model, TOKENS, ["*.mlp.neuron"]).keys() == {"0.mlp.neuron", "1.mlp.neuron"}
    pattern = record(model, TOKENS, ["1.attn.pattern", "embed"])["1.attn.pattern"]
    assert pattern.sum(-1) == pytest.approx(1.0)


def test_what_a_hook_leaves_is_recorded(model: GPT) -> None:
    found = record(model, TOKENS, ["0.mlp.out"], lambda site, x: x * 0 if site == "0.mlp.out" else x)
    assert found["0.mlp.out"].abs().sum() == 0


@pytest.mark.parametrize("name", ["2.mlp.neuron", "0.mlp.neurons", "*.nothing"])
def test_a_name_of_nothing_is_refused(model: GPT, name: str) -> None:
    with pytest.raises(UserError, match="hooks are never called at"):
        record(model, TOKENS, [name])
