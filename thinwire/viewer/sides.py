"""The two models of a report, either of which may be missing, and how a task went in one of them."""

from collections.abc import Mapping
from typing import Any

NAMES = {"sparse": "sparse model", "dense": "dense twin"}


def present(holder: Mapping[str, Any]) -> list[str]:
    """Which of `sparse` and `dense` a task or a pair of models has, in this order."""
    return [side for side in NAMES if holder.get(side) is not None]


def is_solved(part: Mapping[str, Any]) -> bool:
    """Whether a task's circuit reached the target on validation pairs."""
    return part["circuit"]["status"] == "solved"


def best_loss(circuit: Mapping[str, Any]) -> float:
    """The lowest validation loss that the pruning reached, in nats."""
    return min([circuit["scores"]["validation"]["loss"], *(value for _, value in circuit["loss_curve"])])
