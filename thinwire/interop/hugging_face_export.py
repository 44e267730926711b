"""A folder that Hugging Face transformers loads without thinwire: weights, tokenizer, code and a model card.

Where a native class computes the same (GPT-2: LayerNorm, learned positions, no AbsTopK, bigram table or sink) its
config and names are written and no code is needed. Else the folder brings `modeling_thinwire.py`, which transformers
runs when it is asked to (`trust_remote_code=True`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from torch import Tensor

from thinwire.data.tokenizer import Tokenizer
from thinwire.data.tokenizer_file import END_OF_TEXT
from thinwire.interop.gpt2 import ACTIVATIONS, PREFIX, is_transposed
from thinwire.interop.gpt2_names import UNEMBED, joined
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.storage.files import write_atomic, write_json
from thinwire.storage.tensors import write_tensors

MODELING = "modeling_thinwire.py"
CODE = files("thinwire.interop") / "hugging_face"


@dataclass(frozen=True)
class Card:
    """What the model card says."""

    name: str
    description: str
    facts: Mapping[str, str] = field(default_factory=dict)
    """Word -> value, a row each."""
    remarks: Sequence[str] = ()
    tags: Sequence[str] = ("weight-sparse", "interpretability")


def write_hugging_face(directory: Path, model: GPT, tokenizer: Tokenizer, card: Card) -> bool:
    """Write the folder's files into a directory that exists; returns whether a native class fits."""
    native = fits_gpt2(model.config)
    weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    config = _common(model.config, tokenizer) | (_gpt2(model.config) if native else _own(model.config))
    write_tensors(directory / "model.safetensors", _native(model.config, weights) if native else weights)
    write_json(directory / "config.json", config)
    ends = {"bos_token_id": tokenizer.end_of_text, "eos_token_id": tokenizer.end_of_text}
    write_json(directory / "generation_config.json", {**ends, "use_cache": native})
    _write_tokenizer(directory, tokenizer, model.config.context)
    if not native:
        code = (CODE / f"{MODELING}.txt").read_text(encoding="utf-8")
        write_atomic(directory / MODELING, code)
    write_atomic(directory / "README.md", _card(card, native))
    return native


def fits_gpt2(config: ModelConfig) -> bool:
    """Whether transformers' own GPT-2 computes what the model does."""
    variant = config.variant
    return (
        variant.norm == "layer"
        and variant.residual == "identity"
        and config.positions == "learned"
        and not variant.d_positions
        and config.activation_frac == 1
        and not variant.residual_sites
        and config.d_attn == config.d_model
        and not (config.bigram or config.sink)
    )


def _common(config: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    ends = {"bos_token_id": tokenizer.end_of_text, "eos_token_id": tokenizer.end_of_text}
    return {"vocab_size": config.vocab_size, "tie_word_embeddings": False, "dtype": "float32", **ends}


def _own(config: ModelConfig) -> dict[str, Any]:
    variant = config.variant
    return {
        "model_type": "thinwire",
        "architectures": ["ThinwireForCausalLM"],
        "auto_map": {
            "AutoConfig": "modeling_thinwire.ThinwireConfig",
            "AutoModelForCausalLM": "modeling_thinwire.ThinwireForCausalLM",
        },
        "use_cache": False,
        "context": config.context,
        "n_layer": config.n_layer,
        "d_model": config.d_model,
        "d_head": config.d_head,
        "n_head": config.n_head,
        "d_mlp": config.d_mlp,
        "activation_frac": config.activation_frac,
        "topk_sites": list(variant.topk_sites) if config.activation_frac < 1 else [],
        "positions": config.positions,
        "d_positions": variant.d_positions,
        "bigram": config.bigram,
        "sink": config.sink,
        "activation": variant.activation,
        "norm": variant.norm,
        "residual": variant.residual,
    }


def _gpt2(config: ModelConfig) -> dict[str, Any]:
    names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_positions": config.context,
        "n_embd": config.d_model,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_inner": config.d_mlp,
        "activation_function": names[config.variant.activation],
        "layer_norm_epsilon": 1e-5,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
    }


def _native(config: ModelConfig, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in joined(config, weights).items():
        written = name if name == UNEMBED else f"{PREFIX}{name}"
        found[written] = tensor.T.contiguous() if is_transposed(name) else tensor
    return found


def _write_tokenizer(directory: Path, tokenizer: Tokenizer, context: int) -> None:
    write_atomic(directory / "tokenizer.json", tokenizer.to_json())
    words = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "clean_up_tokenization_spaces": False}
    takes = {"model_max_length": context, "model_input_names": ["input_ids", "attention_mask"]}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **takes, **words}
    write_json(directory / "tokenizer_config.json", settings)


def _card(card: Card, native: bool) -> str:
    template = Template((CODE / "model_card.md").read_text(encoding="utf-8"))
    return template.substitute(
        name=card.name,
        description=card.description,
        tags=", ".join(card.tags),
        facts="\n".join(f"| {word} | {value} |" for word, value in card.facts.items()),
        trust="" if native else ", trust_remote_code=True",
        remarks="\n".join(f"- {remark}" for remark in card.remarks),
    )
