"""The three ways to compute a training step, behind one interface; `TrainConfig.mode` names one.

exact       all gradients in every step: `SparseOptimizer`
certified   nonzero weights alone wherever no other can enter: `SupportOptimizer`
regrow      nonzero weights alone, but for every so many steps: `SupportOptimizer`
"""

import torch
from torch import Tensor

from thinwire.errors import UserError
from thinwire.model.gpt import GPT
from thinwire.training.config import TrainConfig
from thinwire.training.optimizer import SparseOptimizer
from thinwire.training.savings import SAVED, Savings
from thinwire.training.support_optimizer import SupportOptimizer

Optimizer = SparseOptimizer | SupportOptimizer


def optimizer_for(model: GPT, config: TrainConfig) -> Optimizer:
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


def prepare(optimizer: Optimizer, learning_rate: float, density: float) -> None:
    """Before the gradients of a step: drop those of the last one."""
    if isinstance(optimizer, SupportOptimizer):
        optimizer.prepare(learning_rate, density)
    else:
        optimizer.zero_grad()


def gradients(optimizer: Optimizer) -> list[Tensor]:
    """All gradients of a step, to be averaged over processes before `optimizer.step`."""
    if isinstance(optimizer, SupportOptimizer):
        return optimizer.gradients()
    return [p.grad for p in optimizer.parameters if p.grad is not None]


def step_row(optimizer: Optimizer, savings: Savings) -> dict[str, float]:
    """What the row of the step just taken says about its mode."""
    return optimizer.row | {SAVED: savings.after(optimizer)} if isinstance(optimizer, SupportOptimizer) else {}


def release(optimizer: Optimizer) -> None:
    """After training: leave the model as any other."""
    if isinstance(optimizer, SupportOptimizer):
        optimizer.release()
