"""One optimizer step of weight-sparse training.

Source: Gao et al. 2025, section 2.1 and appendix "Training". After the gradients are there:

    2. g <- g / (rms(g) + 1e-5), the rms over all parameters together
    3. Adam, betas (0.9, 0.95), eps 0.1
    4. every matrix and bias keeps only its largest entries
    5. w <- w (1 - learning rate x decay), matrices only

Zeroed weights stay trainable: they get gradients and moments and can come back at any later step.
"""

# torch's fused loops over lists of tensors have no public name.
# pyright: reportPrivateImportUsage=false

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from thinwire.model.gpt import GPT
from thinwire.model.structure import is_decayed, sparse_parameters
from thinwire.sparsity.projection import project_topk_
from thinwire.training.moments import moments_of

BETAS = (0.9, 0.95)
EPS = 0.1  # unusually large, and needed: with it Adam is not scale-free, so the normaliser of step 2 matters
RMS_EPS = 1e-5


@torch.no_grad()
def normalise_gradients_(gradients: list[Tensor]) -> Tensor:
    """Rescale all gradients together to root-mean-square 1, in place; returns the old rms.

    This is normalisation, not clipping: small gradients grow.
    """
    norms = torch.stack(torch._foreach_norm(gradients))
    rms = norms.square().sum().div(sum(g.numel() for g in gradients)).sqrt()
    torch._foreach_mul_(gradients, 1 / (rms + RMS_EPS))
    return rms


class SparseOptimizer:
    """Steps 2 to 5 for one model (`modes.TrainOptimizer`). Its state is Adam's moments and step count."""

    row: Mapping[str, float] = MappingProxyType({})
    held: Sequence[Any] = ()

    def __init__(self, model: GPT, weight_decay: float, min_per_line: int) -> None:
        self.names = [name for name, _ in model.named_parameters()]
        self.parameters = list(model.parameters())
        self.sparse = sparse_parameters(model)
        self.decayed: list[Tensor] = [p for name, p in model.named_parameters() if is_decayed(name)]
        self.weight_decay, self.min_per_line = weight_decay, min_per_line
        self.adam = torch.optim.Adam(self.parameters, lr=0.0, betas=BETAS, eps=EPS, fused=True)

    def prepare(self, learning_rate: float, density: float) -> None:
        """Drop the gradients of the last step."""
        self.adam.zero_grad()

    def gradients(self) -> list[Tensor]:
        """All gradients of a step, to be averaged over processes."""
        return [p.grad for p in self.parameters if p.grad is not None]

    @torch.no_grad()
    def step(self, learning_rate: float, density: float) -> Tensor:
        """Apply the gradients that the parameters hold; returns their rms before normalisation."""
        rms = normalise_gradients_(self.gradients())
        self.adam.param_groups[0]["lr"] = learning_rate
        self.adam.step()
        for parameter in self.sparse:
            project_topk_(parameter.value, density, parameter.protect, self.min_per_line)
        torch._foreach_mul_(self.decayed, 1 - learning_rate * self.weight_decay)
        return rms

    def release(self) -> None:
        """The model reads its weights as any other does."""

    def state_tensors(self) -> dict[str, Tensor]:
        """Moments by parameter name: `m.NAME`, `v.NAME`."""
        tensors = {}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            if state := self.adam.state.get(parameter):
                tensors[f"m.{name}"], tensors[f"v.{name}"] = state["exp_avg"], state["exp_avg_sq"]
        return tensors

    def load_state_tensors(self, tensors: dict[str, Tensor], n_steps: int) -> None:
        """Take up moments after `n_steps` steps. Raises `CorruptFile` for missing and impossible ones."""
        for name, parameter in zip(self.names, self.parameters, strict=True):
            m, v = moments_of(tensors, name, parameter.shape)
            self.adam.state[parameter] = {
                "step": torch.tensor(float(n_steps)),
                "exp_avg": m.to(parameter),
                "exp_avg_sq": v.to(parameter),
            }
