"""What a removed node's activation becomes, by kind of ablation: the one place that pruning, stored circuits and
verification ask.

A new kind is a name in `Ablation` (circuits/graph.py) and a function here.
"""

from collections.abc import Callable
from typing import get_args

from thinwire.circuits.ablation import Means, task_means, zero_means
from thinwire.circuits.graph import Ablation
from thinwire.model.gpt import GPT
from thinwire.tasks.tokens import TaskTokens

TextMeans = Callable[[GPT], Means]
"""Means of a model's nodes over held-out text; measured or read, whenever they are needed."""

_KINDS: dict[Ablation, Callable[[GPT, TextMeans, TaskTokens], Means]] = {
    "mean": lambda model, over_text, train: over_text(model),
    "task_mean": lambda model, over_text, train: task_means(model, train),
    "zero": lambda model, over_text, train: zero_means(model),
}
assert set(_KINDS) == set(get_args(Ablation))


def stand_ins(kind: Ablation, model: GPT, over_text: TextMeans, train: TaskTokens) -> Means:
    """Node site -> what stands in for each removed channel; `train` are the task's train pairs."""
    return _KINDS[kind](model, over_text, train)
