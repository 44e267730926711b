"""Norms. RMSNorm's gradients in one pass on CPU; torch's own elsewhere (its CPU backward is a dozen passes)."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from thinwire.model.hooks import Hook, Site, identity
from thinwire.model.sites import SCALE

LAYER_NORM_EPS = 1e-5


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:
        from thinwire.kernels import norm

        flat = x.detach().reshape(-1, x.shape[-1]).contiguous()
        y, scale = norm.forward(flat, gain)
        ctx.save_for_backward(flat, gain, scale)
        return y.view(x.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        from thinwire.kernels import norm

        x, gain, scale = ctx.saved_tensors
        dx, d_gain = norm.backward(x, gain, scale, grad.reshape(x.shape).to(x.dtype).contiguous())
        return dx.view(grad.shape), d_gain


def rms_norm(x: Float[Tensor, "*batch D"], gain: Float[Tensor, " D"]) -> Float[Tensor, "*batch D"]:
    """x / rms(x) x gain, with torch's default eps (finfo of the dtype)."""
    if x.device.type == "cpu" and x.dtype == gain.dtype == torch.float32 and torch.is_grad_enabled():
        return _RMSNorm.apply(x, gain)  # pyright: ignore[reportReturnType]
    return F.rms_norm(x, gain.shape, gain)


class RMSNorm(nn.Module):
    """x / rms(x) x gain, with torch's default eps (finfo of the dtype)."""

    def __init__(self, width: int, site: str) -> None:
        """`site` is what the place of the scale is called by, such as `0.attn`."""
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.hook_scale = Site(f"{site}{SCALE}")

    def forward(self, x: Float[Tensor, "*batch D"], hook: Hook) -> Float[Tensor, "*batch D"]:
        if hook is identity and not self.hook_scale.watched:
            return rms_norm(x, self.gain)
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps)
        return x * self.hook_scale(scale, hook) * self.gain


class LayerNorm(nn.Module):
    """(x - mean(x)) / std(x) x gain + shift, with GPT-2's eps of 1e-5 in the variance."""

    def __init__(self, width: int, site: str) -> None:
        """`site` is as for `RMSNorm`."""
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))
        self.hook_scale = Site(f"{site}{SCALE}")

    def forward(self, x: Float[Tensor, "*batch D"], hook: Hook) -> Float[Tensor, "*batch D"]:
        if hook is identity and not self.hook_scale.watched:
            return F.layer_norm(x, self.gain.shape, self.gain, self.shift, LAYER_NORM_EPS)
        centred = x - x.mean(-1, keepdim=True)
        scale = torch.rsqrt(centred.square().mean(-1, keepdim=True) + LAYER_NORM_EPS)
        return centred * self.hook_scale(scale, hook) * self.gain + self.shift


NORMS = {"rms": RMSNorm, "layer": LayerNorm}
"""By the name that `Variant.norm` gives them."""
