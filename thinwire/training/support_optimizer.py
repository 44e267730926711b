"""Steps 2 to 5 of training, at a cost that follows the nonzeros: modes `certified` and `regrow`.

Source of the step: Gao et al. 2025, section 2.1 (see `thinwire.training.optimizer`); of the certificate:
`thinwire.sparsity.certificate`. As long as more than `SUPPORT_DENSITY` of the weights are nonzero, products over them
do not pay and every step is that of `SparseOptimizer`. From then on every matrix that multiplies activations is divided
before each step:

    certified   lines in which no zeroed weight can enter: their nonzero weights are computed; all other lines in full
    regrow      every `regrow_every_steps`-th step in full, between them the nonzero weights alone; the matrices take
                turns, so that no step pays for all, and dense gradients and moments of few exist at a time

A zeroed weight that is not computed has no moments; when it is computed again they begin at 0 with a step count of
their own. The gradient normaliser takes what is not computed from random probes. The embedding, positions, biases,
norms and the bigram table are computed in full always.
"""

# torch's fused loops over lists of tensors have no public name.
# pyright: reportPrivateImportUsage=false

import math

import numpy as np
import torch
from torch import Tensor

from thinwire.model.gpt import GPT, Linear
from thinwire.model.structure import is_decayed, protected_lines, sparse_parameters
from thinwire.sparsity.certificate import certified_lines, step_bound
from thinwire.sparsity.projection import count_nonzero, project_topk_
from thinwire.sparsity.support import support_of
from thinwire.training.config import TrainConfig
from thinwire.training.moments import entries_of, moments_of, stored
from thinwire.training.optimizer import BETAS, EPS, RMS_EPS, SparseOptimizer
from thinwire.training.support_matrix import HeldMatrix, Moments, square

SUPPORT_DENSITY = 0.25
"""Density from which on the products over stored entries pay; also the share of stored entries up to which they do."""


class SupportOptimizer:
    """Steps 2 to 5 for one model on CPU: a `modes.TrainOptimizer`."""

    def __init__(self, model: GPT, config: TrainConfig) -> None:
        self.model, self.config = model, config
        self.exact: SparseOptimizer | None = SparseOptimizer(model, config.weight_decay, config.min_per_line)
        self.held: list[HeldMatrix] = []
        self.n_steps = 0
        self.row: dict[str, float] = {}
        """What the last step adds to its `metrics.StepRow`."""
        self._name_plain(set())

    def prepare(self, learning_rate: float, density: float) -> None:
        """Drop the gradients and decide what the coming step computes."""
        if self.exact and density <= SUPPORT_DENSITY:
            if self.n_steps == 0:
                self._start_sparse(density)
            self._take_over(self.exact.state_tensors(), self.n_steps)
        if self.exact:
            self.exact.prepare(learning_rate, density)
            return
        for parameter in self.plain:
            parameter.grad = None
        generator = torch.Generator().manual_seed(self.n_steps)
        n_lines = n_spared = 0
        for place, matrix in enumerate(self.held):
            spared = self._divide(matrix, place, learning_rate, density)
            matrix.attach(generator)
            n_lines, n_spared = n_lines + spared.size, n_spared + int(spared.sum())
        self.row = {"spared_rows": n_spared / n_lines}

    def _divide(self, matrix: HeldMatrix, place: int, learning_rate: float, density: float) -> np.ndarray:
        """Store what the coming step must compute of a matrix; returns which lines are spared a full gradient."""
        rows, columns = matrix.shape
        n_lines = columns if matrix.protect == "columns" else rows
        if self.config.mode == "regrow":
            spared = np.full(n_lines, not self._in_turn(place))
        else:
            spared = self._certify(matrix, learning_rate, density)
        nonzero = matrix.nonzero()
        if spared.all():
            matrix.store(nonzero)
            return spared
        n_stored = nonzero.size + int((~spared).sum()) * (matrix.size // n_lines)
        if n_stored > SUPPORT_DENSITY * matrix.size:
            matrix.store_all()
            return np.zeros(n_lines, bool)
        matrix.store(_with_lines(matrix, nonzero, ~spared))
        return spared

    def _in_turn(self, place: int) -> bool:
        """Whether the `place`-th matrix is computed in full in the coming step: turns are spread over the interval."""
        every = self.config.regrow_every_steps
        return self.n_steps % every == every * place // len(self.held)

    def _certify(self, matrix: HeldMatrix, learning_rate: float, density: float) -> np.ndarray:
        flat = matrix.nonzero()
        magnitudes = np.abs(matrix.weight.detach().numpy().reshape(-1)[flat])
        k = count_nonzero(matrix.size, density)
        reach = learning_rate * step_bound(*BETAS)
        support = support_of(flat, matrix.shape)
        return certified_lines(magnitudes, support, k, matrix.protect, self.config.min_per_line, reach)

    def gradients(self) -> list[Tensor]:
        """All gradients of a step, to be averaged over processes."""
        if self.exact:
            return self.exact.gradients()
        plain = [p.grad for p in self.plain if p.grad is not None]
        return plain + [gradient for matrix in self.held for gradient in matrix.gradients()]

    @torch.no_grad()
    def step(self, learning_rate: float, density: float) -> Tensor:
        """Apply the gradients; returns their rms before normalisation, what is not computed estimated."""
        self.n_steps += 1
        if self.exact:
            self.row = {"spared_rows": 0.0}
            return self.exact.step(learning_rate, density)
        t, gradients = self.config, [p.grad for p in self.plain if p.grad is not None]
        plain = sum(map(square, gradients))
        squares = [matrix.squares() for matrix in self.held]
        rms = math.sqrt((plain + sum(taken for taken, _ in squares)) / self.n_numbers)
        scale = 1 / (rms + RMS_EPS)
        torch._foreach_mul_(gradients, scale)
        self.adam.param_groups[0]["lr"] = learning_rate
        self.adam.step()
        for parameter in self.projected:
            project_topk_(parameter.value, density, parameter.protect, t.min_per_line)
        torch._foreach_mul_(self.decayed, 1 - learning_rate * t.weight_decay)
        for matrix in self.held:
            matrix.step(scale, learning_rate, density, t.min_per_line, t.weight_decay)
        self.row["exchanges"] = sum(matrix.entered for matrix in self.held)
        full = [pair for pair, matrix in zip(squares, self.held, strict=True) if matrix.support is None]
        if true := sum(taken for taken, _ in full):
            self.row["norm_error"] = math.sqrt(sum(by_probes for _, by_probes in full) / true) - 1
        return torch.tensor(rms)

    def release(self) -> None:
        """Leave the model as any other: its maps read whole matrices again."""
        for matrix in self.held:
            matrix.release()

    def state_tensors(self) -> dict[str, Tensor]:
        """Moments by parameter name, `m.NAME` and `v.NAME`; of the held matrices also `age.NAME`, `norms.NAME` and,
        where not all entries are stored, their positions `entries.NAME`."""
        if self.exact:
            return self.exact.state_tensors()
        tensors = {}
        for name, parameter in zip(self.plain_names, self.plain, strict=True):
            state = self.adam.state[parameter]
            tensors[f"m.{name}"], tensors[f"v.{name}"] = state["exp_avg"], state["exp_avg_sq"]
        for matrix in self.held:
            moments, name = matrix.moments, matrix.name
            tensors |= {f"m.{name}": moments.m, f"v.{name}": moments.v, f"age.{name}": moments.age}
            tensors[f"norms.{name}"] = matrix.norms
            if matrix.support is not None:
                tensors[f"entries.{name}"] = torch.from_numpy(matrix.support.flat)
        return tensors

    def load_state_tensors(self, tensors: dict[str, Tensor], n_steps: int) -> None:
        """Take up moments after `n_steps` steps. Raises `CorruptFile` for missing and impossible ones."""
        self.n_steps = n_steps
        if not any(name.startswith("age.") for name in tensors) and self.exact:
            self.exact.load_state_tensors(tensors, n_steps)
        else:
            self._take_over(tensors, n_steps)

    def _take_over(self, tensors: dict[str, Tensor], n_steps: int) -> None:
        """Hold the block matrices from here on, with the moments that `tensors` gives."""
        self.exact = None
        linears = {
            f"{name}.weight": module for name, module in self.model.named_modules() if isinstance(module, Linear)
        }
        self._name_plain(set(linears))
        self.adam = torch.optim.Adam(self.plain, lr=0.0, betas=BETAS, eps=EPS, fused=True)
        for name, parameter in zip(self.plain_names, self.plain, strict=True):
            m, v = (
                moments_of(tensors, name, parameter.shape) if n_steps else (torch.zeros_like(parameter) for _ in "mv")
            )
            step = torch.tensor(float(n_steps))
            self.adam.state[parameter] = {"step": step, "exp_avg": m.to(parameter), "exp_avg_sq": v.to(parameter)}
        self.held = [_held(name, linears[name], tensors, n_steps) for name in linears]

    @torch.no_grad()
    def _start_sparse(self, density: float) -> None:
        """Training starts at a density that is followed: keep the largest weights of the initialisation."""
        for parameter in sparse_parameters(self.model):
            project_topk_(parameter.value, density, parameter.protect, self.config.min_per_line)

    def _name_plain(self, held: set[str]) -> None:
        """Which parameters are computed in full always, and what happens to each."""
        plain = [(name, p) for name, p in self.model.named_parameters() if name not in held]
        self.plain_names, self.plain = [name for name, _ in plain], [p for _, p in plain]
        self.projected = [p for p in sparse_parameters(self.model) if p.name not in held]
        self.decayed: list[Tensor] = [p for name, p in plain if is_decayed(name)]
        self.n_numbers = sum(p.numel() for p in self.model.parameters())


def _with_lines(matrix: HeldMatrix, nonzero: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Positions of the nonzero weights and of all entries of some lines, ascending."""
    mask = np.zeros(matrix.shape, bool)
    mask.reshape(-1)[nonzero] = True
    mask[(slice(None), lines) if matrix.protect == "columns" else lines] = True
    return np.flatnonzero(mask)


def _held(name: str, linear: Linear, tensors: dict[str, Tensor], n_steps: int) -> HeldMatrix:
    entries = entries_of(tensors, name, linear.weight.numel())
    if n_steps:
        in_full = entries is None and f"age.{name}" not in tensors  # as `SparseOptimizer` leaves them
        count = [linear.weight.numel() if entries is None else len(entries)]
        m, v = (moment.reshape(-1) for moment in moments_of(tensors, name, linear.weight.shape if in_full else count))
        age = torch.full((m.numel(),), n_steps, dtype=torch.int32)
        age = stored(tensors, f"age.{name}", count, torch.int32) if f"age.{name}" in tensors else age
    else:
        entries = torch.from_numpy(np.flatnonzero(linear.weight.detach().numpy()))
        m, v, age = torch.zeros(len(entries)), torch.zeros(len(entries)), torch.zeros(len(entries), dtype=torch.int32)
    matrix = HeldMatrix(name, linear, protected_lines(name), Moments(m, v, age))
    if f"norms.{name}" in tensors:
        matrix.norms = stored(tensors, f"norms.{name}", matrix.norms.shape, matrix.norms.dtype)
    if entries is not None:
        matrix.take(entries.numpy())
    return matrix
