"""Pairs whose two sides can be exchanged position by position, for the terms that patch activations."""

from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from thinwire.circuits.patching import aligned_pairs
from thinwire.circuits.prompts import Prompts
from thinwire.errors import UserError
from thinwire.pruning.engine import Engine
from thinwire.pruning.patching import Patching

BATCH_PAIRS = 32
"""Pairs of a training step that are patched."""
JUDGED_PAIRS = 64
"""Pairs on which a circuit is measured."""


class Sides:
    """The aligned pairs of one split. Raises `UserError` when there are none."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.aligned = aligned_pairs(engine.plain.prompts)
        if not len(self.aligned):
            raise UserError(
                "no pair's two sides have equally many tokens, so that nothing can be patched from one to the other; "
                "ask for a circuit with --require sufficient, or make both prompts of each pair equally long"
            )

    def batch(self, rows: Int[Tensor, " n"]) -> Patching:
        """The first `BATCH_PAIRS` of the given pairs that are aligned; others take the place where none is."""
        rows = rows.to(self.aligned.device)
        chosen = rows[torch.isin(rows, self.aligned)][:BATCH_PAIRS]
        return self.engine.patching(chosen if len(chosen) else self.aligned[:BATCH_PAIRS])

    @cached_property
    def judged_rows(self) -> Int[Tensor, " n"]:
        """The pairs on which circuits are measured, spread over the split."""
        step = max(1, len(self.aligned) // JUDGED_PAIRS)
        return self.aligned[::step][:JUDGED_PAIRS]

    @cached_property
    def judged(self) -> Patching:
        return self.engine.patching(self.judged_rows)

    @property
    def judged_prompts(self) -> Prompts:
        return self.engine.plain.prompts.pairs(self.judged_rows)
