"""The released weight-sparse models (github.com/openai/circuit_sparsity): beeg_config.json and final_model.pt.

1. Keys of the config: used, renamed, without effect on logits, or refused by name. Absent ones have the defaults of
   the released class.
2. Tensors: each one that the config asks for, in its shape, and no other.
3. Ours: absent biases are zeros, `final_logits_bias` goes into every row of the bigram table, an additive positional
   table of zeros is none, a mask buffer of slow attention is checked and left.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from thinwire.errors import UserError
from thinwire.interop.gpt2_names import convert, drop_masks, untie
from thinwire.interop.imported import Imported
from thinwire.interop.keys import read_keys, take_keys
from thinwire.interop.torch_file import read_state_dict
from thinwire.model.config import ModelConfig, Variant
from thinwire.model.nodes import node_space
from thinwire.model.sites import LAYER_SITES, part_of

CONFIG, WEIGHTS = "beeg_config.json", "final_model.pt"
RENAMED = {"n_mlp": "d_mlp"}
"""Key of older files -> today's."""
WITHOUT_EFFECT = frozenset(
    {
        "dropout", "dropout_cat_pos_emb", "debug_nans", "grad_checkpointing", "enable_sparse_kernels", "flash",
        "tokenizer_name", "learnable_bigram_table", "sinusoidal_cat_pos_emb",
    }
)  # fmt: skip
"""Keys that decide how a model is trained or computed, but no logits; sinusoids are stored as weights."""
SITES = {
    "attn_in": "attn.in", "attn_q": "attn.q", "attn_k": "attn.k", "attn_v": "attn.v", "attn_out": "attn.out",
    "mlp_in": "mlp.in", "mlp_neuron": "mlp.neuron", "mlp_out": "mlp.out",
    "resid_post_attn": "resid.mid", "resid_post_mlp": "resid.post",
}  # fmt: skip
"""Their places of AbsTopK -> our node sites."""
SINK = ".attn.sink_logit", ".attn.attn_imp.sink_logit"
HOOKS = {
    "attn.act_in": "attn.in", "attn.q": "attn.q", "attn.k": "attn.k", "attn.v": "attn.v",
    "attn.resid_delta": "attn.out", "mlp.act_in": "mlp.in", "mlp.post_act": "mlp.neuron",
    "mlp.resid_delta": "mlp.out",
}  # fmt: skip
"""Their hooks in a layer -> our node sites."""
LOGITS_BIAS = "final_logits_bias"


@dataclass(frozen=True)
class ReleasedConfig:
    """The keys that decide what a released model computes, with the defaults of the released class."""

    block_size: int = 1024
    vocab_size: int = 50304
    n_layer: int = 12
    n_head: int = 12
    d_head: int | None = None
    d_model: int = 768
    d_mlp: int | None = None
    bias: bool = True
    ln_bias: bool = True
    rms_norm: bool = False
    residual_activation_type: Literal["identity", "relu"] = "identity"
    activation_type: Literal["gelu", "relu"] = "gelu"
    afrac: float | None = None
    afrac_loctypes: str = "attn_in,attn_out,mlp_in,mlp_out"
    tied_unembed: bool = True
    enable_bigram_table: bool = False
    d_pos_emb: int | None = None
    sink: bool = False
    use_tied_aux_matrix: bool = False

    def __post_init__(self) -> None:
        for name in ("block_size", "vocab_size", "n_layer", "n_head", "d_head", "d_model", "d_mlp", "d_pos_emb"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} {value} is not positive")
        if self.use_tied_aux_matrix:
            raise ValueError("use_tied_aux_matrix is true; such a model cannot be computed without that matrix")
        if self.d_model % self.n_head:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_head {self.n_head}")
        if self.afrac is not None and not 0 < self.afrac <= 1:
            raise ValueError(f"afrac {self.afrac} is not in (0, 1]")
        for place in self.afrac_loctypes.split(",") if self.afrac is not None else ():
            if place not in SITES:
                raise ValueError(f"afrac_loctypes names {place!r}; the places are {', '.join(SITES)}")

    def model_config(self) -> ModelConfig:
        """The same model in our terms, positions and bigram table as the config has them.

        Raises `ValueError` where AbsTopK would keep nothing.
        """
        d_head, d_mlp = self.d_head or self.d_model // self.n_head, self.d_mlp or 4 * self.d_model
        variant = Variant(
            activation=self.activation_type,
            norm="rms" if self.rms_norm else "layer",
            residual=self.residual_activation_type,
            topk_sites=self._topk_sites(),
            d_positions=self.d_pos_emb or 0,
            n_head=0 if self.n_head * d_head == self.d_model else self.n_head,
            d_mlp=d_mlp if d_mlp % self.d_model else 0,
        )
        config = ModelConfig(
            vocab_size=self.vocab_size,
            context=self.block_size,
            n_layer=self.n_layer,
            d_model=self.d_model,
            d_head=d_head,
            mlp_ratio=max(1, d_mlp // self.d_model),
            activation_frac=1.0 if self.afrac is None else self.afrac,
            positions="learned",
            bigram=self.enable_bigram_table,
            sink=self.sink,
            variant=variant,
        )
        for site, width in node_space(replace(config, n_layer=1)).widths.items():
            if part_of(site) in variant.topk_sites and int(config.activation_frac * width) < 1:
                raise ValueError(f"afrac {self.afrac} keeps none of the {width} entries at {site}")
        return config

    def _topk_sites(self) -> tuple[str, ...]:
        """In the order of the forward pass, so that the eight sites of the paper are the default."""
        if self.afrac is None:
            return LAYER_SITES
        named = {SITES[place] for place in self.afrac_loctypes.split(",")}
        return tuple(site for site in SITES.values() if site in named)


def read_openai(directory: Path) -> Imported:
    """The model in a folder of the released format.

    Raises `UserError` naming the file and the key or tensor that does not fit.
    """
    where = directory / CONFIG
    released = take_keys(ReleasedConfig, read_keys(where), str(where), RENAMED, WITHOUT_EFFECT)
    try:
        config = released.model_config()
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    path = directory / WEIGHTS
    tensors = read_state_dict(path)
    drop_masks(tensors, r"transformer\.h\.\d+\.attn\.bias", config.context, str(path))
    bias = tensors.pop(LOGITS_BIAS, None)  # older files have none
    if released.tied_unembed:
        untie(tensors, "transformer.wte.weight", "tied_unembed", str(path))
    ours = convert(config, tensors, str(path), written, released.bias, released.ln_bias)
    remarks = []
    if not config.variant.d_positions and not ours["positions.weight"].any():
        config = replace(config, positions="none")
        del ours["positions.weight"]
    if bias is not None and bias.shape != (config.vocab_size,):
        shape = list(bias.shape)
        raise UserError(f"{path}: {LOGITS_BIAS} has shape {shape}, its config asks for [{config.vocab_size}]")
    if bias is not None and bias.any():
        config = replace(config, bigram=True)
        ours["bigram"] = ours.get("bigram", torch.zeros(1, 1)) + bias.expand(config.vocab_size, -1)
        remarks.append(f"{LOGITS_BIAS} was added to every row of the bigram table.")
    return Imported(config, ours, (where, path), tuple(remarks))


def written(name: str) -> str:
    """The file's name of a tensor that GPT-2's descendants share."""
    if name in ("lm_head.weight", "bigram_table"):
        return name
    return f"transformer.{name.replace(*SINK)}"
