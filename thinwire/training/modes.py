"""The three ways to compute a training step, behind one interface; `TrainConfig.mode` names one.

exact       all gradients in every step: `SparseOptimizer`
certified   nonzero weights alone wherever no other can enter: `SupportOptimizer`
regrow      nonzero weights alone, but for every so many steps: `SupportOptimizer`
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from thinwire.errors import UserError
from thinwire.model.gpt import GPT
from thinwire.training.config import TrainConfig
from thinwire.training.optimizer import SparseOptimizer
from thinwire.training.support_matrix import HeldMatrix
from thinwire.training.support_optimizer import SupportOptimizer


@runtime_checkable
class TrainOptimizer(Protocol):
    """Steps 2 to 5 of training for one model. Call `prepare`, then the backward passes, then `step`."""

    @property
    def row(self) -> Mapping[str, Any]:
        """What the last step adds to its `metrics.StepRow`."""
        ...

    @property
    def held(self) -> Sequence[HeldMatrix]:
        """Matrices of which stored entries alone may be computed."""
        ...

    def prepare(self, learning_rate: float, density: float) -> None:
        """Drop the gradients of the last step and decide what the coming one computes."""
        ...

    def gradients(self) -> list[Tensor]:
        """All gradients of a step, to be averaged over processes before `step`."""
        ...

    def step(self, learning_rate: float, density: float) -> Tensor:
        """Apply the gradients; returns their rms before normalisation."""
        ...

    def release(self) -> None:
        """After training: leave the model as any other."""
        ...

    def state_tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, by name."""
        ...

    def load_state_tensors(self, tensors: dict[str, Tensor], n_steps: int) -> None:
        """Inverse of `state_tensors` after `n_steps` steps. Raises `CorruptFile` when something is missing."""
        ...


def optimizer_for(model: GPT, config: TrainConfig) -> TrainOptimizer:
    """The optimizer of `config.mode`. Raises `UserError` where its kernels cannot run."""
    if config.mode == "exact":
        return SparseOptimizer(model, config.weight_decay, config.min_per_line)
    where = next(model.parameters())
    if where.device.type != "cpu" or where.dtype != torch.float32:
        raise UserError(
            f"train.mode {config.mode} runs on CPU in float32, not on {where.device.type}; "
            f"use train.mode exact or --device cpu"
        )
    return SupportOptimizer(model, config)
