"""Program: what a circuit answers with, as expressions, and what they refer to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Int64

from thinwire.decompile.expressions import Expression, OfToken, Rebuilder, Sum


@dataclass(frozen=True)
class Program:
    """The answers of a circuit at the last token of a prompt."""

    outputs: tuple[Expression, ...]
    """The logits of the two answer tokens; or one expression, their difference."""
    answers: tuple[str, str]
    """Texts of (answer, other): the first is given where its logit is larger."""
    tokens: tuple[str, ...]
    """Text of every token id."""
    sites: dict[Expression, str] = field(default_factory=dict)
    """Expression -> the node that it is, as `site:channel`."""

    @cached_property
    def difference(self) -> Expression:
        """Logit of the first answer less that of the other."""
        if len(self.outputs) == 1:
            return self.outputs[0]
        answer, other = self.outputs
        return Sum(0.0, ((1.0, answer), (-1.0, other)))

    @property
    def of_difference(self) -> "Program":
        """The program that computes the difference alone."""
        return replace(self, outputs=(self.difference,))

    def mapped(self, change: Callable[[Expression], Expression]) -> "Program":
        """Every expression passed through `change`, from the bottom up."""
        return self._rebuilt(Rebuilder(change))

    def with_replaced(self, new: Mapping[Expression, Expression]) -> "Program":
        """Each key's value wherever the key stands."""
        return self._rebuilt(Rebuilder(lambda x: x, new))

    def _rebuilt(self, rebuild: Rebuilder) -> "Program":
        outputs = tuple(rebuild(x) for x in self.outputs)
        sites = {new: self.sites[old] for old, new in rebuild.done.items() if old in self.sites}
        return replace(self, outputs=outputs, sites=sites)

    def restricted(self, tokens: Int64[np.ndarray, " n"]) -> "Program":
        """With tables of most of the vocabulary cut to the given tokens; all others get the mean of the table."""

        def cut(x: Expression) -> Expression:
            if not isinstance(x, OfToken) or len(x.listed) <= len(x.values) / 2:
                return x
            values = np.full(len(x.values), x.values.mean())
            values[tokens] = x.values[tokens]
            return OfToken(values)

        return self.mapped(cut)
