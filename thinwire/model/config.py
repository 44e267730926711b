"""ModelConfig: the shape of a GPT. Data only, no behaviour, no torch."""

from dataclasses import dataclass
from typing import Literal


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
    """Share of entries that AbsTopK keeps at each of the eight sites of a layer; 1 switches it off."""
    positions: Literal["none", "learned"] = "none"
    """Positional embedding: none (the paper) or a learned additive table (the released code)."""
    bigram: bool = True
    """Add a dense (V, V) table's row of the current token to the logits."""
    sink: bool = False
    """A learnable logit per head in the softmax denominator, with value zero."""

    def __post_init__(self) -> None:
        if self.d_model % self.d_head:
            raise ValueError(
                f"d_model {self.d_model} is not a multiple of d_head {self.d_head}; "
                f"use {self.d_model // self.d_head * self.d_head or self.d_head}"
            )
        if not 0 < self.activation_frac <= 1:
            raise ValueError(f"activation_frac {self.activation_frac} is not in (0, 1]; 1 switches AbsTopK off")
        for name in ("vocab_size", "context", "n_layer", "d_model", "d_head", "mlp_ratio"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is not positive")

    @property
    def d_mlp(self) -> int:
        """Number of MLP neurons N."""
        return self.mlp_ratio * self.d_model

    @property
    def n_head(self) -> int:
        """Number of attention heads H."""
        return self.d_model // self.d_head
