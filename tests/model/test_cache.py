"""Activations by TransformerLens' names: of prompts of any lengths, with gradients that are those of finite steps."""

import pytest
import torch
from model_builders import CONFIG, lively
from torch import Tensor

from thinwire.errors import UserError
from thinwire.model.cache import cache
from thinwire.model.gpt import GPT
from thinwire.model.hooks import hooks_at
from thinwire.model.names import lens_name
from thinwire.model.record import record
from thinwire.runs.run import Run

PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8, 9], [10]]


@pytest.fixture(scope="module")
def model() -> GPT:
    return lively()


def test_it_is_a_dict_of_names_and_activations(model: GPT) -> None:
    found = cache(model, PROMPTS)
    assert set(found) == {lens_name(site) for site in model.space.hook_sites} and len(found) == len(list(found))
    assert [list(found)[i] for i in (0, 1, -1)] == ["hook_embed", "blocks.0.hook_resid_pre", "ln_final.hook_normalized"]
    assert found["blocks.0.mlp.hook_post"] is found["0.mlp.neuron"]
    assert "blocks.0.mlp.hook_post" in found and "0.mlp.neuron" in found and "blocks.9.mlp.hook_post" not in found
    assert found["blocks.1.hook_resid_post"].shape == (3, 6, CONFIG.d_model)
    assert found["blocks.1.attn.hook_pattern"].shape == (3, CONFIG.n_head, 6, 6)
    torch.testing.assert_close(found["hook_embed"][0, :3], model.embed(torch.tensor(PROMPTS[0])))


def test_padding_changes_nothing(model: GPT) -> None:
    together = cache(model, PROMPTS)
    assert together.lengths.tolist() == [3, 6, 1]
    assert together.mask.sum(1).tolist() == [3, 6, 1] and together.mask[0].tolist() == [True] * 3 + [False] * 3
    for row, prompt in enumerate(PROMPTS):
        alone = cache(model, [prompt])
        n = len(prompt)
        torch.testing.assert_close(together.logits[row, :n], alone.logits[0])
        torch.testing.assert_close(together.last_logits[row], alone.logits[0, -1])
        for name, x in alone.items():
            padded = together[name][row, :, :n, :n] if name.endswith("pattern") else together[name][row, :n]
            torch.testing.assert_close(padded, x[0], msg=name)


def test_the_names_that_are_asked_for_and_no_others(model: GPT) -> None:
    assert list(cache(model, PROMPTS, ["0.attn.q", "blocks.*.mlp.hook_post"])) == [
        "blocks.0.attn.hook_q",
        "blocks.0.mlp.hook_post",
        "blocks.1.mlp.hook_post",
    ]
    with pytest.raises(UserError, match="did you mean"):
        cache(model, PROMPTS, ["blocks.0.mlp.hook_pst"])


def test_what_a_hook_leaves_is_cached(model: GPT) -> None:
    hook = hooks_at(model.space, {"0.resid.mid": lambda x: 0 * x})
    found = cache(model, PROMPTS, hook=hook)
    assert found["blocks.0.hook_resid_mid"].count_nonzero() == 0
    torch.testing.assert_close(found["blocks.0.hook_resid_post"], found["blocks.0.hook_mlp_out"])
    torch.testing.assert_close(found.sites["0.mlp.in"], record(model, found.tokens, ["0.mlp.in"], hook)["0.mlp.in"])


def test_without_gradients_there_is_no_graph(model: GPT) -> None:
    found = cache(model, PROMPTS)
    assert not found.logits.requires_grad and not any(x.requires_grad for x in found.values())


@pytest.mark.parametrize(
    "name", ["hook_embed", "blocks.0.mlp.hook_post", "blocks.1.attn.hook_v", "blocks.1.ln2.hook_scale"]
)
def test_a_gradient_is_the_slope_of_the_logits(model: GPT, name: str) -> None:
    """Of a frozen model, in float64 by central differences along a random direction."""
    model = lively().double()
    found = cache(model, PROMPTS, grad=True)
    (found.last_logits[:, 3] - found.last_logits[:, 4]).sum().backward()
    grad = found[name].grad
    assert grad is not None and grad.count_nonzero() > 0
    site = next(site for site in model.space.hook_sites if lens_name(site) == name)
    moved = (found[name].detach() != 0) * torch.randn(grad.shape, dtype=torch.float64)  # what AbsTopK keeps

    def difference(step: float) -> Tensor:
        shifted = cache(model, PROMPTS, hook=hooks_at(model.space, {site: lambda x: x + step * moved}))
        return (shifted.last_logits[:, 3] - shifted.last_logits[:, 4]).sum()

    slope = (difference(1e-6) - difference(-1e-6)) / 2e-6
    assert (grad * moved).sum().item() == pytest.approx(slope.item(), rel=1e-4, abs=1e-6)


def test_gradients_leave_the_model_as_it_is(model: GPT) -> None:
    found = cache(model, PROMPTS, grad=True)
    found.logits.sum().backward()
    assert all(x.grad is not None for x in found.values())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "no prompt"),
        ([[1], []], "prompt 1 has 0 tokens; the model reads 1 to 9"),
        ([[1] * 10], "prompt 0 has 10 tokens"),
        ([[1, 23]], "prompt 0 holds a token that is not in 0 to 22"),
        ([[-1]], "prompt 0 holds a token"),
    ],
)
def test_prompts_that_cannot_be_read_are_refused(model: GPT, prompts: list[list[int]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        cache(model, prompts)


def test_a_run_takes_texts_ids_and_tensors(tiny_run: Run) -> None:
    text = "while True:\n    return"
    ids = tiny_run.tokenizer.encode(text)
    expected = tiny_run.model(torch.tensor([ids]))
    for prompts in (text, [text], [ids], torch.tensor([ids]), torch.tensor(ids)):
        torch.testing.assert_close(tiny_run.cache(prompts).logits, expected, atol=1e-4, rtol=1e-4)
    both = tiny_run.cache([text, "x"], names="blocks.0.mlp.hook_post")
    assert both.lengths.tolist() == [len(ids), 1] and list(both) == ["blocks.0.mlp.hook_post"]
