"""GPT-2 checkpoints of Hugging Face transformers, as dense models: config.json and model.safetensors.

LayerNorm, learned positions, GELU in GPT-2's approximation, attention without a sink; every matrix of a block is stored
the other way round there. Buffers of older files (causal masks) are left out, by name.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open
from torch import Tensor

from thinwire.errors import UserError
from thinwire.interop.gpt2_names import convert
from thinwire.interop.imported import Imported
from thinwire.interop.keys import read_keys, take_keys
from thinwire.interop.torch_file import check_tensor
from thinwire.model.config import ModelConfig, Variant
from thinwire.model.norm import LAYER_NORM_EPS

CONFIG, WEIGHTS = "config.json", "model.safetensors"
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
BUFFERS = re.compile(r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)")
PREFIX = "transformer."


@dataclass(frozen=True)
class Gpt2Config:
    """The keys that decide what a GPT-2 computes. What else such a file holds is about training and other heads."""

    model_type: Literal["gpt2"]
    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: Literal["gelu_new", "gelu_pytorch_tanh", "gelu", "relu"] = "gelu_new"
    layer_norm_epsilon: float = LAYER_NORM_EPS
    tie_word_embeddings: bool = True
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    add_cross_attention: bool = False

    def __post_init__(self) -> None:
        if self.layer_norm_epsilon != LAYER_NORM_EPS:
            raise ValueError(f"layer_norm_epsilon is {self.layer_norm_epsilon}; thinwire has GPT-2's {LAYER_NORM_EPS}")
        for name, usual in (("scale_attn_weights", True), ("scale_attn_by_inverse_layer_idx", False)):
            if getattr(self, name) is not usual:
                raise ValueError(f"{name} is {getattr(self, name)}; thinwire divides by the root of the head's width")
        if self.add_cross_attention:
            raise ValueError("add_cross_attention is true; thinwire has decoders without")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd {self.n_embd} is not a multiple of n_head {self.n_head}")


def read_gpt2(directory: Path) -> Imported:
    """The model in a folder that `save_pretrained` wrote.

    Raises `UserError` naming the file and the key or tensor that does not fit.
    """
    where = directory / CONFIG
    values = read_keys(where)
    known = {key: value for key, value in values.items() if key in Gpt2Config.__dataclass_fields__}
    gpt2 = take_keys(Gpt2Config, known, str(where))
    width, n_inner = gpt2.n_embd, gpt2.n_inner or 4 * gpt2.n_embd
    try:
        config = ModelConfig(
            vocab_size=gpt2.vocab_size,
            context=gpt2.n_positions,
            n_layer=gpt2.n_layer,
            d_model=width,
            d_head=width // gpt2.n_head,
            mlp_ratio=max(1, n_inner // width),
            activation_frac=1.0,
            positions="learned",
            bigram=False,
            variant=Variant(
                activation=ACTIVATIONS[gpt2.activation_function],  # pyright: ignore[reportArgumentType]
                norm="layer",
                d_mlp=n_inner if n_inner % width else 0,
            ),
        )
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    path = directory / WEIGHTS
    tensors = _read(path)
    if gpt2.tie_word_embeddings and "lm_head.weight" not in tensors and "wte.weight" in tensors:
        tensors["lm_head.weight"] = tensors["wte.weight"].clone()
    ours = convert(config, tensors, str(path), str, transposed=is_transposed)
    return Imported(config, ours, (where, path))


def is_transposed(name: str) -> bool:
    """Whether transformers stores a matrix, by its shared name, the other way round."""
    return name.startswith("h.") and name.endswith(".weight") and ".ln_" not in name


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors of the file without the prefix that some files have."""
    if not path.is_file():
        raise UserError(f"{path} is missing; save the model with save_pretrained(safe_serialization=True)")
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if not BUFFERS.fullmatch(name)]  # noqa: SIM118 - no mapping
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no safetensors file or cut short ({error}); fetch it again") from None
    for name, tensor in tensors.items():
        check_tensor(tensor, f"{path}: {name}")
    return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
