"""Sizes of the hand-built models, from tens to thousands of nodes. Data only, no torch."""

from dataclasses import dataclass
from typing import Literal, get_args

SizeName = Literal["small", "medium", "large"]
SIZE_NAMES: tuple[SizeName, ...] = get_args(SizeName)


@dataclass(frozen=True)
class Size:
    """Shape of a hand-built model, as far as its mechanism leaves it open."""

    d_model: int
    """Width of the residual stream; a mechanism with many channels may need more."""
    d_head: int
    mlp_ratio: int
    activation_frac: float


SIZES: dict[SizeName, Size] = {
    "small": Size(d_model=8, d_head=4, mlp_ratio=1, activation_frac=0.5),
    "medium": Size(d_model=48, d_head=8, mlp_ratio=2, activation_frac=0.25),
    "large": Size(d_model=128, d_head=16, mlp_ratio=4, activation_frac=0.25),
}
"""80 to 290 nodes, 530 to 960, 1,660 to 3,070."""
