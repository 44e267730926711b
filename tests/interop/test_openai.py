"""Released models, read back, compute what the released code computed (tests/interop/released/README.md)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from model_builders import random_gates, random_means, random_prompts
from released_models import recorded, records, state_dict, write_model

from thinwire.errors import UserError
from thinwire.interop.openai import HOOKS, read_openai
from thinwire.model.checkpoint import load_model
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.model.hooks import identity
from thinwire.pruning.engine import FastEngine, PlainEngine
from thinwire.pruning.objective import Objective

NAMES = sorted(records("openai"))
WITH_ACTIVATIONS = [name for name in NAMES if len(recorded("openai", name)) > 3]
RELATIVE = 1e-5


def imported(directory: Path, name: str, **changed: Any) -> GPT:
    found = read_openai(write_model(directory, "openai", name, **changed))
    return load_model(found.config, found.tensors, name).requires_grad_(False).eval()


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_the_released_code(name: str, tmp_path: Path) -> None:
    model, theirs = imported(tmp_path, name), recorded("openai", name)
    for hook in (identity, lambda site, x: x):
        difference = (model(theirs["tokens"].long(), hook) - theirs["logits"]).abs().max()
        assert difference <= RELATIVE * theirs["logits"].abs().max()


@pytest.mark.parametrize("name", WITH_ACTIVATIONS)
def test_nodes_are_what_the_released_hooks_save(name: str, tmp_path: Path) -> None:
    model, theirs = imported(tmp_path, name), recorded("openai", name)
    ours: dict[str, torch.Tensor] = {}

    def record(site: str, x: torch.Tensor) -> torch.Tensor:
        ours[site] = x
        return x

    model(theirs["tokens"][:1].long(), record)
    compared = 0
    for layer in range(model.config.n_layer):
        for hook, site in HOOKS.items():
            torch.testing.assert_close(ours[f"{layer}.{site}"], theirs[f"{layer}.{hook}"], rtol=1e-5, atol=1e-6)
            compared += 1
    assert compared == 16
    if "1.resid.post" in ours:  # what a layer leaves is what the next one, or the last norm, starts from
        torch.testing.assert_close(ours["0.resid.post"], theirs["1.resid_in"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours["0.resid.mid"], theirs["0.resid_mid"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours["1.resid.post"], theirs["final_resid"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_pruning_sees_the_same_model_on_its_fast_path(name: str, tmp_path: Path) -> None:
    model, prompts = imported(tmp_path, name), random_prompts()
    means = random_means(model)
    engines = FastEngine(model, prompts, means), PlainEngine(model, prompts, means)
    fast, plain = (Objective(engine, {"mean": 1.0}, 0.15) for engine in engines)
    for share in (1.0, 0.6):
        gates, rows = random_gates(model, share)[None], [torch.tensor([7, 2, 3, 0])]
        found, wanted = (objective.gradients(gates, rows, [torch.Generator()]) for objective in (fast, plain))
        (loss, gradient), (expected, expected_gradient) = found, wanted
        torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(gradient, expected_gradient, rtol=2e-4, atol=2e-5)


def test_the_papers_model_is_today_s_default_but_for_its_sizes(tmp_path: Path) -> None:
    config = imported(tmp_path, "paper").config
    sizes = {"vocab_size": 32, "context": 8, "d_model": 8, "d_head": 4, "activation_frac": 0.5}
    assert config == ModelConfig(**sizes, positions="learned")


def test_a_positional_table_of_zeros_is_none(tmp_path: Path) -> None:
    directory = write_model(tmp_path, "openai", "paper")
    tensors = state_dict("openai", "paper")
    tensors["transformer.wpe.weight"].zero_()
    torch.save(tensors, directory / "final_model.pt")
    assert read_openai(directory).config.positions == "none"


def test_older_names_and_smaller_numbers_are_read(tmp_path: Path) -> None:
    directory = write_model(tmp_path, "openai", "paper")
    half = {name: tensor.to(torch.bfloat16) for name, tensor in state_dict("openai", "paper").items()}
    torch.save(half, directory / "final_model.pt")
    tensors = read_openai(directory).tensors
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert imported(tmp_path / "old", "old_names").config.d_mlp == 16


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rope": True}, "unknown keys: rope"),
        ({"use_tied_aux_matrix": True}, "use_tied_aux_matrix is true"),
        ({"n_mlp": 32}, "has both n_mlp and d_mlp"),
        ({"afrac_loctypes": "attn_in,attn_pattern"}, "afrac_loctypes names 'attn_pattern'"),
        ({"afrac_loctypes": "attn_in, mlp_in"}, "afrac_loctypes names ' mlp_in'"),
        ({"afrac": 0.1}, "keeps none of the 8 entries"),
        ({"afrac": 1.5}, r"afrac 1\.5 is not in"),
        ({"activation_type": "swish"}, "activation_type: unknown value 'swish'"),
        ({"d_model": "8"}, "d_model: expected int, got str"),
        ({"bias": 1}, "bias: expected bool, got int"),
        ({"n_layer": 0}, "n_layer 0 is not positive"),
        ({"n_head": 3}, "d_model 8 is not a multiple of n_head 3"),
        ({"vocab_size": 33}, r"wte\.weight has shape \[32, 8\], its config asks for \[33, 8\]"),
        ({"d_mlp": 16}, r"c_fc\.weight has shape \[32, 8\], its config asks for \[16, 8\]"),
        ({"n_layer": 3}, r"lacks transformer\.h\.2\.attn\.c_attn\.weight, .* and \d+ more"),
        ({"n_layer": 1}, r"holds transformer\.h\.1\..* and \d+ more, which its config has no place for"),
        ({"n_layer": 10**9}, r"n_layer 1000000000 is not in \[1, 1000\]"),
        ({"vocab_size": 10**18}, r"vocab_size 1000000000000000000 is not in \[1, 65536\]"),
        ({"sink": True}, r"lacks transformer\.h\.0\.attn\.attn_imp\.sink_logit"),
        ({"enable_bigram_table": False}, "holds bigram_table, which its config has no place for"),
        ({"rms_norm": False}, r"lacks transformer\.ln_f\.bias"),
        ({"tied_unembed": True}, r"tied_unembed is true, but lm_head\.weight is not transformer\.wte\.weight"),
        ({"d_pos_emb": 6}, r"lacks transformer\.h\.0\.ln_p1\.weight"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_in_one_line(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        imported(tmp_path, "paper", **changed)
    assert "\n" not in str(caught.value)


def test_tensors_that_nobody_asked_for_are_refused(tmp_path: Path) -> None:
    directory = write_model(tmp_path, "openai", "slow_attention")
    tensors = state_dict("openai", "slow_attention")
    tensors["transformer.h.0.attn.bias"][0, 0, 0, 3] = 1.0
    torch.save(tensors, directory / "final_model.pt")
    with pytest.raises(UserError, match=r"h\.0\.attn\.bias is no causal mask of 8 positions"):
        read_openai(directory)
    tensors = state_dict("openai", "paper") | {"transformer.h.0.attn.scale": torch.ones(1)}
    torch.save(tensors, write_model(tmp_path / "b", "openai", "paper") / "final_model.pt")
    with pytest.raises(UserError, match=r"holds transformer\.h\.0\.attn\.scale, which"):
        read_openai(tmp_path / "b")
    tensors = state_dict("openai", "paper") | {"final_logits_bias": torch.ones(3)}
    torch.save(tensors, tmp_path / "b" / "final_model.pt")
    with pytest.raises(UserError, match=r"final_logits_bias has shape \[3\], its config asks for \[32\]"):
        read_openai(tmp_path / "b")


def test_a_config_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"beeg_config\.json is missing"):
        read_openai(tmp_path)
    path = tmp_path / "beeg_config.json"
    for content, message in (("{", "is not valid JSON"), ("[]", "holds no keys"), (json.dumps({}), "final_model")):
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            read_openai(tmp_path)
