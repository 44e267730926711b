"""Which parameters are sparse, and which lines of them are protected.

Source: Gao et al. 2025, section 2.1: every weight matrix and every bias is projected, token embedding and
unembedding included; the bigram table, norm gains and sink logits stay dense.
"""

from typing import NamedTuple

from torch import Tensor

from thinwire.kernels.contract import Protect
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT


class SparseParameter(NamedTuple):
    name: str
    value: Tensor
    protect: Protect
    """Rows of the matrices into q/k/v and neurons, columns of the matrices out of values and neurons."""


def is_sparse(name: str) -> bool:
    """Whether the projection applies to the parameter of that name."""
    return name.endswith((".weight", ".bias"))


def is_decayed(name: str) -> bool:
    """Whether weight decay applies: all weight matrices, no biases, norms, sinks or bigram table."""
    return name.endswith(".weight")


def protected_lines(name: str) -> Protect:
    """Which lines of a parameter keep their own largest entries."""
    if not name.startswith("blocks.") or not name.endswith(".weight"):
        return None
    return "columns" if name.endswith(".out.weight") else "rows"


def sparse_parameters(model: GPT) -> list[SparseParameter]:
    """The projected parameters in the order of `named_parameters`."""
    return [SparseParameter(n, p, protected_lines(n)) for n, p in model.named_parameters() if is_sparse(n)]


def linear_shapes(config: ModelConfig) -> list[tuple[int, int]]:
    """Shapes (rows, columns) of the weight matrices that multiply activations."""
    d, n, read, attn = config.d_model, config.d_mlp, config.d_read, config.d_attn
    return list(dict.fromkeys([(attn, read), (d, attn), (n, read), (d, n), (config.vocab_size, d)]))


def count_parameters(model: GPT) -> dict[str, int]:
    """Number of parameters and of nonzero ones, in all and in the projected tensors."""
    sparse = sparse_parameters(model)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "nonzero": sum(int(p.count_nonzero()) for p in model.parameters()),
        "sparse_parameters": sum(p.value.numel() for p in sparse),
        "sparse_nonzero": sum(int(p.value.count_nonzero()) for p in sparse),
    }


def weight_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter of a model, in the order of `named_parameters`, without making one."""
    d, vocab, width = config.d_model, config.vocab_size, config.variant.d_positions
    layer_norm = config.variant.norm == "layer"

    def norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.gain": (size,)} | ({f"{name}.shift": (size,)} if layer_norm else {})

    def maps(name: str, ends: dict[str, tuple[int, int]]) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for part, (target, source) in ends.items():
            shapes |= {f"{name}.{part}.weight": (target, source), f"{name}.{part}.bias": (target,)}
        return shapes

    read, attn, mlp = config.d_read, config.d_attn, config.d_mlp
    shapes: dict[str, tuple[int, ...]] = {"bigram": (vocab, vocab)} if config.bigram else {}
    shapes["embed.weight"] = (vocab, d)
    if config.positions == "learned":
        shapes["positions.weight"] = (config.context, width or d)
    for layer in range(config.n_layer):
        for block, ends in (
            ("attn", {**dict.fromkeys("qkv", (attn, read)), "out": (d, attn)}),
            ("mlp", {"neuron": (mlp, read), "out": (d, mlp)}),
        ):
            name = f"blocks.{layer}.{block}"
            if block == "attn" and config.sink:
                shapes[f"{name}.sink"] = (config.n_head,)
            shapes |= norm(f"{name}.norm", d)
            shapes |= norm(f"{name}.position_norm", width) if width else {}
            shapes |= maps(name, ends)
    return shapes | norm("norm", d) | {"unembed.weight": (vocab, d)}
