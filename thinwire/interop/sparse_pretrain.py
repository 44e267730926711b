"""Models of github.com/jacobcd52/sparse_pretrain_public: config.json and pytorch_model.bin.

The weights of a model that was trained with bridges are in sparse_model.bin. What the uploads leave out of config.json
has the defaults of that code; where AbsTopK acts is left out too, so that training_config.yaml, if it is there, has
to agree.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from thinwire.errors import UserError
from thinwire.interop.gpt2_names import convert, drop_masks, untie
from thinwire.interop.imported import Imported
from thinwire.interop.keys import read_keys, take_keys
from thinwire.interop.torch_file import read_state_dict
from thinwire.model.config import ModelConfig, Variant
from thinwire.model.sites import LAYER_SITES, RESIDUAL_SITES

CONFIG, WEIGHTS, TRAINING = "config.json", ("pytorch_model.bin", "sparse_model.bin"), "training_config.yaml"
SITES = {
    "resid_pre": "resid.pre", "attn_in": "attn.in", "attn_q": "attn.q", "attn_k": "attn.k", "attn_v": "attn.v",
    "attn_out": "attn.out", "resid_mid": "resid.mid", "mlp_in": "mlp.in", "mlp_neuron": "mlp.neuron",
    "mlp_out": "mlp.out",
}  # fmt: skip
"""Their places of AbsTopK -> our node sites, in the order of the forward pass."""
TRAINING_ONLY = frozenset(
    {
        "enable_weight_sparsity", "target_l0_fraction", "sparsity_anneal_start_fraction",
        "sparsity_anneal_end_fraction", "anneal_type", "min_weights_per_neuron",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Sections:
    """What config.json holds; the last two say how a model was trained."""

    model_config: dict
    sparsity_config: dict
    training_config: dict | None = None
    bridges_config: dict | None = None


@dataclass(frozen=True)
class Shape:
    """`model_config`, with the defaults of that code."""

    vocab_size: int
    n_layer: int = 8
    d_model: int = 1024
    n_ctx: int = 256
    d_head: int = 16
    d_mlp: int | None = None
    use_rms_norm: bool = True
    tie_embeddings: bool = False
    use_positional_embeddings: bool = False
    use_bigram_table: bool = True
    use_attention_sinks: bool = True
    activation: Literal["gelu", "relu"] = "gelu"
    use_bias: bool = True
    use_flash_attention: bool = True

    def __post_init__(self) -> None:
        if self.use_attention_sinks and not self.use_flash_attention:
            raise ValueError("use_flash_attention false leaves the attention sinks out; set use_attention_sinks false")


@dataclass(frozen=True)
class ActivationSparsity:
    """`sparsity_config`, as far as it decides what a model computes."""

    enable_activation_sparsity: bool = True
    activation_topk_fraction: float = 0.25
    activation_sparsity_locations: str = "attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q"

    def __post_init__(self) -> None:
        for place in self.activation_sparsity_locations.split(","):
            if place not in SITES:
                raise ValueError(f"activation_sparsity_locations names {place!r}; the places are {', '.join(SITES)}")


def read_sparse_pretrain(directory: Path) -> Imported:
    """The model in a folder of that format.

    Raises `UserError` naming the file and the key or tensor that does not fit.
    """
    where = directory / CONFIG
    sections = take_keys(Sections, read_keys(where), str(where))
    shape = take_keys(Shape, sections.model_config, f"{where}: model_config", without_effect={"dropout"})
    sparsity = take_keys(
        ActivationSparsity, sections.sparsity_config, f"{where}: sparsity_config", without_effect=TRAINING_ONLY
    )
    if "activation_sparsity_locations" not in sections.sparsity_config:
        _check_places(directory / TRAINING, sparsity, where)
    try:
        config = _model_config(shape, sparsity)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    path = next((directory / name for name in WEIGHTS if (directory / name).exists()), directory / WEIGHTS[0])
    tensors = read_state_dict(path)
    if not shape.use_flash_attention:
        drop_masks(tensors, r"blocks\.\d+\.attn\.causal_mask", shape.n_ctx, str(path))
    if shape.tie_embeddings:
        untie(tensors, "wte.weight", "tie_embeddings", str(path))
    ours = convert(config, tensors, str(path), _written, shape.use_bias)
    return Imported(config, ours, (where, path))


def _model_config(shape: Shape, sparsity: ActivationSparsity) -> ModelConfig:
    named = {SITES[place] for place in sparsity.activation_sparsity_locations.split(",")}
    active = sparsity.enable_activation_sparsity
    d_mlp = 4 * shape.d_model if shape.d_mlp is None else shape.d_mlp
    return ModelConfig(
        vocab_size=shape.vocab_size,
        context=shape.n_ctx,
        n_layer=shape.n_layer,
        d_model=shape.d_model,
        d_head=shape.d_head,
        mlp_ratio=max(1, d_mlp // shape.d_model),
        activation_frac=sparsity.activation_topk_fraction if active else 1.0,
        positions="learned" if shape.use_positional_embeddings else "none",
        bigram=shape.use_bigram_table,
        sink=shape.use_attention_sinks,
        variant=Variant(
            activation=shape.activation,
            norm="rms" if shape.use_rms_norm else "layer",
            topk_sites=tuple(site for site in (*LAYER_SITES, *RESIDUAL_SITES) if site in named)
            if active
            else LAYER_SITES,
            d_mlp=d_mlp if d_mlp % shape.d_model else 0,
        ),
    )


def _check_places(path: Path, sparsity: ActivationSparsity, where: Path) -> None:
    """config.json does not say where AbsTopK acts: the file that training wrote must not say anything else."""
    try:
        values: Any = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
        trained = values.get("sparsity", {}).get("activation_sparsity_locations")
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())}); fetch it again") from None
    if trained is not None and set(trained.split(",")) != set(sparsity.activation_sparsity_locations.split(",")):
        raise UserError(
            f"{where} does not say where AbsTopK acts, and {path.name} says {trained}; "
            f"put that into sparsity_config as activation_sparsity_locations"
        )


def _written(name: str) -> str:
    if name.startswith("h."):
        return f"blocks.{name.removeprefix('h.').replace('.attn.sink_logit', '.attn.attn_fn.sink_logit')}"
    return name
