"""Tensor names that GPT-2 and its descendants share, beside ours.

    wte.weight, wpe.weight, lm_head.weight, bigram_table      embed.weight, positions.weight, unembed.weight, bigram
    ln_f                                                      norm             (weight: gain, bias: shift)
    h.N.ln_1, h.N.ln_2, h.N.ln_p1, h.N.ln_p2                  blocks.N.{attn,mlp}.norm, .position_norm
    h.N.attn.c_attn                                           blocks.N.attn.q, k, v, one below the other
    h.N.attn.c_proj, h.N.mlp.c_fc, h.N.mlp.c_proj             blocks.N.attn.out, mlp.neuron, mlp.out
    h.N.attn.sink_logit                                       blocks.N.attn.sink

Each format says how it writes these names. A model without biases has zeros for them here.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from thinwire.errors import UserError
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT

UNEMBED = "lm_head.weight"
SHOWN = 4
"""Names that an error lists before it counts the rest."""


def names(config: ModelConfig) -> dict[str, tuple[str, ...]]:
    """Shared name -> our names, for every tensor of a model of this shape, biases included."""
    shared: dict[str, tuple[str, ...]] = {"wte.weight": ("embed.weight",), "lm_head.weight": ("unembed.weight",)}
    if config.positions == "learned":
        shared["wpe.weight"] = ("positions.weight",)
    if config.bigram:
        shared["bigram_table"] = ("bigram",)
    norms, linears = {"ln_f": "norm"}, {}
    for layer in range(config.n_layer):
        theirs, ours = f"h.{layer}", f"blocks.{layer}"
        linears[f"{theirs}.attn.c_attn"] = tuple(f"{ours}.attn.{part}" for part in "qkv")
        linears[f"{theirs}.attn.c_proj"] = (f"{ours}.attn.out",)
        linears[f"{theirs}.mlp.c_fc"] = (f"{ours}.mlp.neuron",)
        linears[f"{theirs}.mlp.c_proj"] = (f"{ours}.mlp.out",)
        for i, block in ((1, "attn"), (2, "mlp")):
            norms[f"{theirs}.ln_{i}"] = f"{ours}.{block}.norm"
            if config.variant.d_positions:
                norms[f"{theirs}.ln_p{i}"] = f"{ours}.{block}.position_norm"
        if config.sink:
            shared[f"{theirs}.attn.sink_logit"] = (f"{ours}.attn.sink",)
    for theirs, ours in linears.items():
        shared |= {f"{theirs}.{end}": tuple(f"{name}.{end}" for name in ours) for end in ("weight", "bias")}
    for theirs, ours in norms.items():
        shared[f"{theirs}.weight"] = (f"{ours}.gain",)
        if config.variant.norm == "layer":
            shared[f"{theirs}.bias"] = (f"{ours}.shift",)
    return shared


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Our name -> shape. Raises `UserError` when no tensors can be so large."""
    try:
        with torch.device("meta"):
            return {name: tuple(tensor.shape) for name, tensor in GPT(config).state_dict().items()}
    except RuntimeError:
        raise UserError(f"no model of these sizes can be made: {config}") from None


def convert(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    where: str,
    written: Callable[[str], str],
    linear_bias: bool = True,
    norm_bias: bool = True,
    transposed: Callable[[str], bool] = lambda name: False,
) -> dict[str, Tensor]:
    """Our tensors, float32, from a file's. `written` gives the file's name of a shared one.

    `linear_bias` and `norm_bias`: whether the file has them. `transposed` tells which matrices lie the other way round.
    Raises `UserError` naming `where` and the tensors that are missing, unknown or of another shape.
    """
    if config.n_layer > len(tensors):
        raise UserError(f"{where} holds {len(tensors)} tensors, too few for the {config.n_layer} layers of its config")
    ours, shared = shapes(config), names(config)
    for name in [name for name in shared if name.endswith(".bias")]:
        if not (norm_bias if ".ln_" in f".{name}" else linear_bias):
            del shared[name]
    wanted = {}
    for name, own in shared.items():
        rows = sum(ours[part][0] for part in own)
        shape = (rows, *ours[own[0]][1:])
        wanted[written(name)] = shape[::-1] if transposed(name) else shape
    _check({name: tuple(tensor.shape) for name, tensor in tensors.items()}, wanted, where)
    converted = {}
    for name, own in shared.items():
        tensor = tensors[written(name)].to(torch.float32)
        tensor = tensor.T if transposed(name) else tensor
        for part, piece in zip(own, tensor.split([ours[part][0] for part in own]), strict=True):
            converted[part] = piece.contiguous()
    for name in ours.keys() - converted.keys():
        assert name.endswith((".bias", ".shift")), name
        converted[name] = torch.zeros(ours[name])
    return {name: converted[name] for name in ours}


def joined(config: ModelConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Shared name -> tensor, from ours; biases included."""
    return {name: torch.cat([tensors[part] for part in own]) for name, own in names(config).items()}


def drop_masks(tensors: dict[str, Tensor], pattern: str, context: int, where: str) -> None:
    """Remove the causal masks that slow attention keeps as buffers; `pattern` matches their names.

    Raises `UserError` for one that is no such mask.
    """
    for name in [name for name in tensors if re.fullmatch(pattern, name)]:
        mask = tensors.pop(name)
        if mask.shape != (1, 1, context, context) or not torch.equal(mask, torch.ones_like(mask).tril()):
            raise UserError(f"{where}: {name} is no causal mask of {context} positions")


def untie(tensors: dict[str, Tensor], embed: str, key: str, where: str) -> None:
    """Two equal matrices for the one that the config's `key` ties. Raises `UserError` when the file has two others."""
    if embed not in tensors:
        return
    if not torch.equal(tensors.get(UNEMBED, tensors[embed]), tensors[embed]):
        raise UserError(f"{where}: {key} is true, but {UNEMBED} is not {embed}")
    tensors[UNEMBED] = tensors[embed].clone()


def _check(found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]], where: str) -> None:
    if missing := [name for name in wanted if name not in found]:
        raise UserError(f"{where} lacks {_listed(missing)}, which its config asks for")
    if unknown := [name for name in found if name not in wanted]:
        raise UserError(f"{where} holds {_listed(unknown)}, which its config has no place for")
    for name, shape in wanted.items():
        if found[name] != shape:
            raise UserError(f"{where}: {name} has shape {list(found[name])}, its config asks for {list(shape)}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
