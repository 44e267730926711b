"""Calibration: scale and shift of the difference of the two answer logits.

Source: Gao et al. 2025, section 2.3. A shift common to both logits does nothing under the softmax.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.graph import Calibration
from thinwire.circuits.prompts import task_loss

LBFGS_STEPS = 16


def calibrate(difference: Float[Tensor, " P"], sign: Float[Tensor, " P"]) -> Calibration:
    """Fit scale and shift on validation prompts with 16 LBFGS steps, in float64 on the CPU.

    A fit that does not lower the loss to a finite value is dropped.
    """
    difference, sign = difference.detach().double().cpu(), sign.double().cpu()
    scale_and_shift = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    lbfgs = torch.optim.LBFGS([scale_and_shift], max_iter=LBFGS_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        return task_loss(scale_and_shift[0] * difference + scale_and_shift[1], sign)

    def closure() -> Tensor:
        lbfgs.zero_grad()
        value = loss()
        value.backward()
        return value

    with torch.enable_grad():
        before = lbfgs.step(closure).detach()
    after = loss().detach()
    if not bool(torch.isfinite(scale_and_shift).all()) or bool(after > before):
        return Calibration()
    scale, shift = scale_and_shift.tolist()
    return Calibration(scale, shift)
