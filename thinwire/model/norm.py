"""RMSNorm with gradients in one pass on CPU; torch's own elsewhere (its CPU backward is a dozen passes)."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


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
