"""Models of sparse_pretrain and of transformers' GPT-2, read back (tests/interop/released/README.md)."""

from pathlib import Path
from typing import Any

import pytest
import torch
from released_models import recorded, records, state_dict, write_model
from safetensors.torch import save_file

from thinwire.errors import UserError
from thinwire.interop.gpt2 import read_gpt2
from thinwire.interop.sparse_pretrain import read_sparse_pretrain
from thinwire.model.checkpoint import load_model
from thinwire.model.config import Variant
from thinwire.model.hooks import identity

READERS = {"sparse_pretrain": read_sparse_pretrain, "gpt2": read_gpt2}
MODELS = [(program, name) for program in READERS for name in sorted(records(program))]
IGNORED_SINK = ("sparse_pretrain", "slow_attention_ignores_its_sink")


@pytest.mark.parametrize(("program", "name"), [model for model in MODELS if model != IGNORED_SINK])
def test_logits_are_those_of_the_other_program(program: str, name: str, tmp_path: Path) -> None:
    found, theirs = READERS[program](write_model(tmp_path, program, name)), recorded(program, name)
    model = load_model(found.config, found.tensors, name).eval()
    with torch.no_grad():
        for hook in (identity, lambda site, x: x):
            difference = (model(theirs["tokens"].long(), hook) - theirs["logits"]).abs().max()
            assert difference <= 1e-5 * theirs["logits"].abs().max()


def sparsity(**changed: Any) -> dict[str, Any]:
    return {"sparsity_config": records("sparse_pretrain")["default"]["config"]["sparsity_config"] | changed}


def shape(**changed: Any) -> dict[str, Any]:
    return {"model_config": records("sparse_pretrain")["default"]["config"]["model_config"] | changed}


def test_sites_on_the_residual_stream_are_node_sites(tmp_path: Path) -> None:
    config = read_sparse_pretrain(write_model(tmp_path, "sparse_pretrain", "residual_sites")).config
    assert config.variant.residual_sites == ("resid.pre", "resid.mid")


def test_the_default_model_of_both_codes_departs_nowhere(tmp_path: Path) -> None:
    config = read_sparse_pretrain(write_model(tmp_path, "sparse_pretrain", "default")).config
    assert config.variant == Variant() and config.sink


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"optimizer_config": {}}, "unknown keys: optimizer_config"),
        ({"model_config": None}, "missing keys: model_config"),
        (shape(rotary=True), "model_config: unknown keys: rotary"),
        (shape(use_flash_attention=False), "leaves the attention sinks out"),
        (shape(n_ctx="8"), "model_config: n_ctx: expected int, got str"),
        (shape(d_model=12), r"wte\.weight has shape \[32, 8\], its config asks for \[32, 12\]"),
        (shape(d_head=3), "d_model 8 is not a multiple of d_head 3"),
        (shape(use_bigram_table=False), "holds bigram_table, which its config has no place for"),
        (sparsity(activation_sparsity_locations="attn_in,attn_mid"), "names 'attn_mid'"),
        (sparsity(activation_topk_fraction=0.0), "not in"),
    ],
)
def test_what_does_not_fit_in_sparse_pretrain_is_refused(changed: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_sparse_pretrain(write_model(tmp_path, "sparse_pretrain", "default", **changed))


def test_a_config_that_is_silent_about_its_sites_is_held_to_the_training_s(tmp_path: Path) -> None:
    directory = write_model(tmp_path, "sparse_pretrain", "default")
    eight = "attn_q,attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k"
    (tmp_path / "training_config.yaml").write_text(f"sparsity:\n  activation_sparsity_locations: {eight}\n")
    read_sparse_pretrain(directory)
    (tmp_path / "training_config.yaml").write_text(f"sparsity:\n  activation_sparsity_locations: {eight},resid_mid\n")
    with pytest.raises(UserError, match="put that into sparsity_config as activation_sparsity_locations"):
        read_sparse_pretrain(directory)
    (tmp_path / "training_config.yaml").write_text("[")
    with pytest.raises(UserError, match=r"training_config\.yaml cannot be read"):
        read_sparse_pretrain(directory)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "llama"}, "model_type: unknown value 'llama'"),
        ({"activation_function": "silu"}, "activation_function: unknown value 'silu'"),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06; thinwire has"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ({"n_head": 3}, "n_embd 8 is not a multiple of n_head 3"),
        ({"n_inner": 24}, r"h\.0\.mlp\.c_fc\.weight has shape \[8, 32\], its config asks for \[8, 24\]"),
        ({"tie_word_embeddings": False}, r"lacks lm_head\.weight"),
    ],
)
def test_what_does_not_fit_in_gpt2_is_refused(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_gpt2(write_model(tmp_path, "gpt2", "default", **changed))


def test_older_files_of_gpt2_have_no_prefix_and_keep_their_masks(tmp_path: Path) -> None:
    directory = write_model(tmp_path, "gpt2", "default")
    plain = read_gpt2(directory).tensors
    older = {name.removeprefix("transformer."): t for name, t in state_dict("gpt2", "default").items()}
    masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 8, 8, dtype=torch.bool).tril() for i in range(2)}
    save_file(older | masks, directory / "model.safetensors")
    again = read_gpt2(directory).tensors
    assert plain.keys() == again.keys() and all(torch.equal(plain[name], again[name]) for name in plain)
    (directory / "model.safetensors").write_bytes((directory / "model.safetensors").read_bytes()[:-500])
    with pytest.raises(UserError, match="no safetensors file or cut short"):
        read_gpt2(directory)
