"""The other way round: one of our models in the released format, for the released code and its viewer.

Token ids are those of the exported tokenizer files, which list bytes first and `<|endoftext|>` last
(`gpt2_tokenizer`): the token matrices' rows are put in that order. What the released class cannot compute is refused.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thinwire.data.tokenizer import Tokenizer
from thinwire.errors import UserError
from thinwire.interop.gpt2_names import joined
from thinwire.interop.gpt2_tokenizer import write_gpt2_tokenizer
from thinwire.interop.openai import CONFIG, LOGITS_BIAS, SITES, WEIGHTS, written
from thinwire.interop.torch_file import write_state_dict
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.model.nodes import node_space
from thinwire.model.sites import part_of
from thinwire.storage.files import write_json

BY_TOKEN = ("embed.weight", "unembed.weight", "bigram")


def write_openai(directory: Path, model: GPT, tokenizer: Tokenizer) -> None:
    """Write beeg_config.json, final_model.pt, encoder.json and vocab.bpe into a directory that exists.

    Raises `UserError` for a model or a tokenizer that the format has no place for.
    """
    write_checkpoint(directory, model, write_gpt2_tokenizer(directory, tokenizer))


def write_checkpoint(directory: Path, model: GPT, tokens: Sequence[int]) -> None:
    """The config and the weights alone; `tokens` are the model's ids in the order that theirs are to have.

    Raises `UserError` for a model that the format has no place for.
    """
    config, order = released_config(model.config), torch.tensor(tokens)
    ours = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    for name in BY_TOKEN:
        if name in ours:
            ours[name] = ours[name][order]
    if "bigram" in ours:
        ours["bigram"] = ours["bigram"][:, order]
    tensors = {written(name): tensor for name, tensor in joined(model.config, ours).items()}
    tensors |= _what_the_class_always_has(model.config)
    write_state_dict(directory / WEIGHTS, tensors)
    write_json(directory / CONFIG, config)


def _what_the_class_always_has(config: ModelConfig) -> dict[str, Tensor]:
    extra = {LOGITS_BIAS: torch.zeros(config.vocab_size)}
    if config.positions == "none":
        extra["transformer.wpe.weight"] = torch.zeros(config.context, config.d_model)
    return extra


def released_config(config: ModelConfig) -> dict[str, Any]:
    """The content of beeg_config.json. Raises `UserError` for what the released class cannot compute."""
    variant, frac = config.variant, config.activation_frac
    places = {site: place for place, site in SITES.items()}
    active = variant.topk_sites if frac < 1 else ()
    if variant.activation == "gelu_tanh":
        raise UserError("the released code has GELU without GPT-2's approximation; this model cannot be exported to it")
    if config.d_model % config.n_head:
        raise UserError(f"the released code wants d_model {config.d_model} to be a multiple of n_head {config.n_head}")
    if lost := [site for site in active if site not in places]:
        raise UserError(f"the released code has no AbsTopK at {lost[0]}; this model cannot be exported to it")
    for site, width in node_space(config).widths.items():
        if part_of(site) in active and int(frac * width) < 1:
            raise UserError(f"the released code would keep none of {width} entries at {site}, thinwire keeps one")
    return {
        "block_size": config.context,
        "vocab_size": config.vocab_size,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "d_head": config.d_head,
        "d_model": config.d_model,
        "d_mlp": config.d_mlp,
        "dropout": 0.0,
        "bias": True,
        "ln_bias": True,
        "rms_norm": variant.norm == "rms",
        "residual_activation_type": variant.residual,
        "activation_type": variant.activation,
        "afrac": frac if active else None,
        "afrac_loctypes": ",".join(places[site] for site in active),
        "tied_unembed": False,
        "tokenizer_name": "tinypython_2k",
        "enable_bigram_table": config.bigram,
        "learnable_bigram_table": config.bigram,
        "d_pos_emb": variant.d_positions or None,
        "flash": True,
        "sink": config.sink,
    }
