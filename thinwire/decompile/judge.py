"""Whether a program still answers as its circuit does."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64

from thinwire.decompile.evaluate import Batch
from thinwire.decompile.expressions import Expression
from thinwire.decompile.program import Program


@dataclass(frozen=True)
class Agreement:
    """Share of pairs, and of prompts, to which a program gives the circuit's answer."""

    pairs: float
    """Both sides alike."""
    prompts: float
    n_pairs: int


@dataclass(frozen=True, eq=False)
class Judge:
    """Holds programs to the answers of one of them, on prompts of which the clean sides come first."""

    batch: Batch
    exact: Expression
    """Difference of the two answers' logits by the exact program."""

    @cached_property
    def wanted(self) -> Float64[np.ndarray, " P"]:
        return self.batch.last(self.exact)

    def alike(self, program: Program) -> Bool[np.ndarray, " P"]:
        """Prompts on which both give the same answer."""
        return (self.batch.last(program.difference) > 0) == (self.wanted > 0)

    def agreement(self, program: Program) -> Agreement:
        alike = self.alike(program)
        clean, corrupt = np.split(alike, 2)
        return Agreement(float((clean & corrupt).mean()), float(alike.mean()), len(clean))
