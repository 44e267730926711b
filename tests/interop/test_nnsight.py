"""nnsight wraps a model as it is: it reads every site, and patches a node as our own hook does."""

import pytest
import torch
from model_builders import lively, tokens
from torch import Tensor

from thinwire.model.gpt import GPT
from thinwire.model.hooks import Hook, hooks_at, identity
from thinwire.model.names import module_name
from thinwire.model.record import record

pytest.importorskip("nnsight")  # of the extra `dev`; no dependency of the package


def traced(
    model: GPT, x: Tensor, site: str, channel: int | None = None, hook: Hook = identity
) -> tuple[Tensor, Tensor]:
    """(value at a site, logits) in a trace, with one channel there set to 2 where one is named."""
    from nnsight import NNsight

    seen, logits = x, x
    wrapped = NNsight(model)
    with wrapped.trace(x, hook):
        place = wrapped.get(module_name(site))
        if channel is not None:
            place.output[..., channel] = 2.0
        seen = place.output.save()
        logits = wrapped.output.save()
    return seen, logits


def test_it_reads_every_site() -> None:
    model, x = lively(), tokens()
    expected, plain = record(model, x, model.space.hook_sites), model(x)
    for site in expected:
        seen, logits = traced(model, x, site)
        torch.testing.assert_close(seen, expected[site], msg=site)
        torch.testing.assert_close(logits, plain, atol=1e-5, rtol=1e-5)


def test_it_patches_a_node_as_our_hook_does() -> None:
    model, x = lively(), tokens()
    plain = model(x)
    ours = model(x, hooks_at(model.space, {"0.mlp.neuron": lambda v: v.index_fill(-1, torch.tensor([5]), 2.0)}))
    _, patched = traced(model, x, "0.mlp.neuron", 5)
    torch.testing.assert_close(patched, ours, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(patched, plain, atol=1e-2)


def test_our_hooks_still_act_in_a_wrapped_model() -> None:
    model, x = lively(), tokens()
    without = hooks_at(model.space, {"1.attn.pattern": lambda v: 0 * v})
    expected = model(x, without)
    seen, logits = traced(model, x, "1.attn.pattern", hook=without)
    assert seen.count_nonzero() == 0
    torch.testing.assert_close(logits, expected)
