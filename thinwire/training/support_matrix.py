"""One weight matrix while training follows its nonzeros: what is stored of it, and its share of a step."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thinwire.kernels.contract import Protect
from thinwire.model.gpt import Linear
from thinwire.sparsity.projection import count_nonzero, project_topk_
from thinwire.sparsity.support import Support, SupportMatrix, project_entries_, support_of
from thinwire.training.optimizer import BETAS, EPS

N_PROBES = 2
"""Random probes of a matrix's gradient in each step."""
MEMORY = 0.95
"""Share of the earlier steps in a running mean of what the probes find: one step's is off by as much as itself where
the gradient has a low rank, and the share that is not computed changes slowly."""


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
        self.norms = torch.zeros(2, dtype=torch.float64)
        """Running means of the squared gradient of entries that are zero or not stored, and of the others."""
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
        if self.support is not None:
            self.norms = self._mean_with(*self._probed())
            estimate = self._estimate(self.norms, square(self.gradients()[0]))
            return estimate, estimate
        gradient = self.gradients()[0]
        computed = gradient * (self.weight != 0)
        known, other = square(computed), square(gradient - computed)
        by_probes = self._mean_with(square((gradient - computed) @ self.probes.T) / N_PROBES, known)
        self.norms = self._mean_with(other, known)
        return known + other, self._estimate(by_probes, known)

    def _probed(self) -> tuple[float, float]:
        """(estimate of the squared gradient of what is not stored, squared gradient of what is)."""
        from thinwire.kernels.products import Rows, multiply

        assert self.support is not None
        stored, probed = self.gradients()
        of_stored = multiply(self.probes, Rows(self.support.starts, self.support.columns, stored.numpy())).T
        return square(probed - of_stored) / N_PROBES, square(stored)

    def _mean_with(self, other: float, known: float) -> Tensor:
        return self.norms.lerp(torch.tensor([other, known], dtype=torch.float64), 1 - MEMORY)

    def _estimate(self, norms: Tensor, known: float) -> float:
        """The squared norm of the whole gradient, where `known` of it is computed."""
        other, computed = norms.tolist()
        return known * (1 + other / computed) if computed else known

    @torch.no_grad()
    def step(self, scale: float, rate: float, density: float, min_per_line: int, decay: float) -> None:
        """Adam on the gradients times `scale`, projection, decay."""
        from thinwire.kernels.support import adam_

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
            self.weight.view(-1).numpy()[self.support.flat] = values.numpy()
        self.entered = int((were_zero & (values != 0)).sum())

    def release(self) -> None:
        """Let the model read the whole matrix again."""
        self.linear.support = None
        self.weight.requires_grad_()


def square(gradient: Tensor) -> float:
    """Squared norm."""
    return float(torch.linalg.vector_norm(gradient, dtype=torch.float64)) ** 2
