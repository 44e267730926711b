"""Pairs whose two sides can be exchanged position by position, for the terms that patch activations."""

from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.circuits.patching import Activations, aligned_pairs, other_side, record
from thinwire.circuits.prompts import Prompts
from thinwire.errors import UserError
from thinwire.pruning.engine import Engine, PlainEngine

BATCH_PAIRS = 32
"""Pairs of a training step that are patched; the forward pass for it is the plain one."""
JUDGED_PAIRS = 64
"""Pairs on which a circuit is measured."""
SMALLEST_WAY = 0.5
"""A difference between the sides below this, in logits, counts as this much: effects are shares of it."""


class Sides:
    """The aligned pairs of one split. Raises `UserError` when there are none."""

    def __init__(self, engine: Engine) -> None:
        self.engine: PlainEngine = engine.plain
        self.aligned = aligned_pairs(self.engine.prompts)
        if not len(self.aligned):
            raise UserError(
                "no pair's two sides have equally many tokens, so that nothing can be patched from one to the other; "
                "ask for a circuit with --require sufficient, or make both prompts of each pair equally long"
            )

    def batch(self, rows: Int[Tensor, " n"]) -> Prompts:
        """The first `BATCH_PAIRS` of the given pairs that are aligned; others take the place where none is."""
        rows = rows.to(self.aligned.device)
        chosen = rows[torch.isin(rows, self.aligned)][:BATCH_PAIRS]
        return self.engine.prompts.pairs(chosen if len(chosen) else self.aligned[:BATCH_PAIRS])

    @cached_property
    def judged(self) -> Prompts:
        """The pairs on which circuits are measured, spread over the split."""
        step = max(1, len(self.aligned) // JUDGED_PAIRS)
        return self.engine.prompts.pairs(self.aligned[::step][:JUDGED_PAIRS])

    @cached_property
    def whole(self) -> tuple[Activations, Float[Tensor, " P"]]:
        """The whole model on `judged`: (activations, logit difference)."""
        return self.run(self.judged)

    @torch.no_grad()
    def run(self, prompts: Prompts) -> tuple[Activations, Float[Tensor, " P"]]:
        """The whole model on some prompts: (activations, logit difference)."""
        return record(self.engine.model, prompts)


def way(difference: Float[Tensor, " P"]) -> Float[Tensor, ""]:
    """Mean distance between the two sides' logit differences."""
    clean, corrupt = difference.unflatten(0, (2, -1))
    return (clean - corrupt).mean()


def bounded_way(difference: Float[Tensor, " P"]) -> float:
    """`way`, at least `SMALLEST_WAY`; a plain number, through which no gradient goes."""
    return max(SMALLEST_WAY, float(way(difference.detach())))


__all__ = ["Sides", "bounded_way", "other_side", "way"]
