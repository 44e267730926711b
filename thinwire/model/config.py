"""ModelConfig: the shape of a GPT. Data only, no behaviour, no torch."""

from dataclasses import dataclass, field
from typing import Literal

from thinwire.errors import UserError
from thinwire.model.sites import LAYER_SITES, RESIDUAL_SITES
from thinwire.ranges import check

MAX_PARAMETERS = 10**12
"""More are refused before anything is built."""


@dataclass(frozen=True)
class Variant:
    """Where a model departs from the paper's, as released, older and dense ones do. The defaults depart nowhere."""

    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
    """Function of the MLP neurons; `gelu_tanh` is GPT-2's approximation."""
    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm, or LayerNorm with a shift."""
    residual: Literal["identity", "relu"] = "identity"
    """Function of the residual stream after attention and after the MLP."""
    topk_sites: tuple[str, ...] = LAYER_SITES
    """Sites of a layer where AbsTopK acts; on the residual stream `resid.pre`, `resid.mid`, `resid.post`, which are
    node sites of the models that name them, or whose residual stream has a function."""
    d_positions: int = 0
    """Width P of a positional embedding that is normed apart and concatenated to what attention and MLP read; 0: it is
    as wide as the residual stream and added to the token embedding."""
    n_head: int = 0
    """Attention heads H; 0: d_model / d_head."""
    d_mlp: int = 0
    """MLP neurons N; 0: mlp_ratio x d_model."""

    def __post_init__(self) -> None:
        check(
            self,
            d_positions="[0, 1e5]; 0 is the default",
            n_head="[0, 1e5]; 0 is the default",
            d_mlp="[0, 1e6]; 0 is the default",
        )
        known = (*LAYER_SITES, *RESIDUAL_SITES)
        for site in self.topk_sites:
            if site not in known:
                raise UserError(f"topk_sites names {site!r}; a layer has {', '.join(known)}")

    @property
    def residual_sites(self) -> tuple[str, ...]:
        """Node sites on the residual stream of every layer, in the order of the forward pass."""
        bent = RESIDUAL_SITES[1:] if self.residual != "identity" else ()
        return tuple(site for site in RESIDUAL_SITES if site in self.topk_sites or site in bent)


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a weight-sparse or dense GPT (Gao et al. 2025, section 2.1)."""

    vocab_size: int = 1024
    """Number of tokens V."""
    context: int = 64
    """Longest sequence T, in tokens."""
    n_layer: int = 2
    """Number of blocks L, each attention then MLP."""
    d_model: int = 256
    """Width of the residual stream D, in channels; a multiple of d_head."""
    d_head: int = 16
    """Width of one attention head K, in channels."""
    mlp_ratio: int = 4
    """MLP neurons per residual channel: N = mlp_ratio x d_model."""
    activation_frac: float = 0.25
    """Share of entries that AbsTopK keeps at each of its sites, the eight of a layer; 1 switches it off."""
    positions: Literal["none", "learned"] = "none"
    """Positional embedding: none (the paper) or a learned table, added (the released code)."""
    bigram: bool = True
    """Add a dense (V, V) table's row of the current token to the logits."""
    sink: bool = False
    """A learnable logit per head in the softmax denominator, with value zero."""
    variant: Variant = field(default_factory=Variant)
    """Where the model departs from the paper's."""

    def __post_init__(self) -> None:
        check(
            self,
            vocab_size="[1, 65536]",
            context="[1, 1e6]",
            n_layer="[1, 1000]",
            d_model="[1, 1e5]",
            d_head="[1, 1e5]",
            mlp_ratio="[1, 1000]",
            activation_frac="(0, 1]; 1 switches AbsTopK off",
        )
        if self.d_model % self.d_head and not self.variant.n_head:
            raise UserError(
                f"d_model {self.d_model} is not a multiple of d_head {self.d_head}; "
                f"use {self.d_model // self.d_head * self.d_head or self.d_head}"
            )
        if self.n_parameters > MAX_PARAMETERS:
            raise UserError(
                f"a model of this shape has {self.n_parameters:.2g} parameters, more than {MAX_PARAMETERS:.0e}; lower "
                f"n_layer, d_model, mlp_ratio or vocab_size"
            )
        if self.variant.d_positions and self.positions != "learned":
            raise UserError(f"d_positions {self.variant.d_positions} needs positions: learned")

    @property
    def d_mlp(self) -> int:
        """Number of MLP neurons N."""
        return self.variant.d_mlp or self.mlp_ratio * self.d_model

    @property
    def n_head(self) -> int:
        """Number of attention heads H."""
        return self.variant.n_head or self.d_model // self.d_head

    @property
    def n_parameters(self) -> int:
        """Entries of the weight matrices and of the bigram table."""
        layer = 4 * self.d_attn * self.d_read + 2 * self.d_mlp * self.d_read
        return self.n_layer * layer + 2 * self.vocab_size * self.d_model + self.bigram * self.vocab_size**2

    @property
    def d_attn(self) -> int:
        """Width of queries, keys and values over all heads."""
        return self.n_head * self.d_head

    @property
    def d_read(self) -> int:
        """Width of what attention and MLP read: the residual stream, and positions where these are concatenated."""
        return self.d_model + self.variant.d_positions
