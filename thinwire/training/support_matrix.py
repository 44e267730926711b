"""One weight matrix while training follows its nonzeros: what is stored of it, and its share of a step."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thinwire.model.gpt import Linear
from thinwire.sparsity.projection import Protect, count_nonzero, project_topk_
from thinwire.sparsity.support import Support, SupportMatrix, project_entries_, support_of
from thinwire.training.optimizer import BETAS, EPS

N_PROBES = 2
"""Random probes of a matrix's gradient in each step."""


@dataclass
class Moments:
    """Adam's moments of the stored entries, flat, and the number of steps that each pair has seen, int32."""

    m: Tensor
    v: Tensor
    age: Tensor

    def gather(self, places: Tensor) -> "Moments":
        return Moments(self.m[places], self.v[places], self.age[places])

    def spread(self, places: Tensor, size: int) -> "Moments":
        """The moments of `size` entries that are those of `places`; the others begin at nothing."""
        return Moments(*(t.new_zeros(size).index_copy(0, places, t) for t in (self.m, self.v, self.age)))


class HeldMatrix:
    """A weight matrix whose entries are all computed (`support` None), or those of `support` alone.

    A weight that is not stored is zero and has no moments: it begins anew when it is stored again.
    """

    def __init__(self, name: str, linear: Linear, protect: Protect, moments: Moments) -> None:
        self.name, self.linear, self.moments = name, linear, moments
        self.protect: Protect = protect
        self.weight: Tensor = linear.weight
        self.support: Support | None = None
        self.values: Tensor | None = None
        self.probes = torch.empty(0)
        self.entered = 0
        """Zeroed weights that the last step brought back."""

    @property
    def size(self) -> int:
        return self.weight.numel()

    @property
    def shape(self) -> tuple[int, int]:
        return self.weight.shape[0], self.weight.shape[1]

    @torch.no_grad()
    def nonzero(self) -> np.ndarray:
        """Positions of the nonzero weights, ascending."""
        if self.support is None or self.values is None:
            return np.flatnonzero(self.weight.numpy())
        return self.support.flat[np.flatnonzero(self.values.numpy())]

    def store_all(self) -> None:
        """Compute all entries from here on."""
        if self.support is not None:
            self.moments = self.moments.spread(torch.from_numpy(self.support.flat), self.size)
        self.support = self.values = None

    def store(self, flat: np.ndarray) -> None:
        """Store the entries at `flat` (ascending) from here on; the moments of all others are dropped."""
        if self.support is not None and np.array_equal(flat, self.support.flat):
            return
        self.store_all()
        self.moments = self.moments.gather(torch.from_numpy(flat))
        self.take(flat)

    def take(self, flat: np.ndarray) -> None:
        """Store the entries at `flat`, whose moments are there already."""
        self.support = support_of(flat, self.shape)
        self.values = self.weight.detach().view(-1)[torch.from_numpy(flat)]

    def attach(self, generator: torch.Generator) -> None:
        """Let the model read the stored entries, with fresh probes and no gradients."""
        rows, columns = self.shape
        signs = torch.randint(0, 2, (N_PROBES, columns), generator=generator)
        self.probes = signs.mul_(2).sub_(1).to(torch.float32)
        self.weight.grad = None
        self.weight.requires_grad_(self.support is None)
        if self.support is None or self.values is None:
            self.linear.support = None
            return
        values = self.values.detach().requires_grad_()
        probe = torch.zeros(rows, N_PROBES, requires_grad=True)
        self.linear.support = SupportMatrix(self.support, values, self.probes, probe)

    def gradients(self) -> list[Tensor]:
        """What the backward pass left: the gradient of all entries, or those of the stored ones and of the probe."""
        held = self.linear.support
        leaves = [self.weight] if held is None else [held.values, held.probe]
        return [leaf.grad for leaf in leaves if leaf.grad is not None]

    @torch.no_grad()
    def squares(self) -> tuple[float, float]:
        """(squared norm of the whole gradient as the step takes it, its estimate by probes).

        The two are the same where not all entries are computed.
        """
        gradient = self.gradients()
        if self.support is not None:
            known = square(gradient[0])
            estimate = known + max(0.0, square(gradient[1]) / N_PROBES - known)
            return estimate, estimate
        return square(gradient[0]), square(gradient[0] @ self.probes.T) / N_PROBES

    @torch.no_grad()
    def step(self, scale: float, rate: float, density: float, min_per_line: int, decay: float) -> None:
        """Adam on the gradients times `scale`, projection, decay."""
        from thinwire.sparsity.kernels.support import adam_

        values = self.weight.view(-1) if self.values is None else self.values
        were_zero = values == 0
        state = (self.moments.m.numpy(), self.moments.v.numpy(), self.moments.age.numpy())
        adam_(values.numpy(), self.gradients()[0].view(-1).numpy(), *state, scale, rate, BETAS, EPS)
        if self.support is None:
            project_topk_(self.weight, density, self.protect, min_per_line)
        else:
            k = count_nonzero(self.size, density)
            project_entries_(values.numpy(), self.support, k, self.protect, min_per_line)
        values.mul_(1 - rate * decay)
        if self.support is not None:
            self.weight.view(-1)[torch.from_numpy(self.support.flat)] = values
        self.entered = int((were_zero & (values != 0)).sum())

    def release(self) -> None:
        """Let the model read the whole matrix again."""
        self.linear.support = None
        self.weight.requires_grad_()


def square(gradient: Tensor) -> float:
    """Squared norm."""
    return float(torch.linalg.vector_norm(gradient, dtype=torch.float64)) ** 2
