"""Rows of metrics.jsonl as tests make them up."""

from typing import Any

from thinwire.training.metrics import StepRow


def step_row(step: int, loss: float = 1.0, **more: Any) -> StepRow:
    """The row of a step, eight tokens each."""
    return StepRow(step=step, tokens=8 * step, density=0.5, learning_rate=0.1, grad_rms=1.0, loss=loss, **more)
