"""The terms there are. A new one is a file of this folder and a line here."""

from collections.abc import Sequence

from thinwire.errors import UserError
from thinwire.pruning.terms.adversarial import Adversarial
from thinwire.pruning.terms.counterfactual import Counterfactual
from thinwire.pruning.terms.interchange import Interchange
from thinwire.pruning.terms.kl import KL, OtherTokens
from thinwire.pruning.terms.mean import Mean
from thinwire.pruning.terms.stochastic import Stochastic
from thinwire.pruning.terms.term import Term

TERMS: dict[str, type[Term]] = {
    term.name: term for term in (Mean, Stochastic, Counterfactual, KL, OtherTokens, Adversarial, Interchange)
}
"""Name -> term, the cheapest to measure first: a circuit is measured in this order until it fails."""


def weighted(terms: Sequence[str]) -> dict[str, float]:
    """Name -> weight of `name` or `name=weight`, in the order of `TERMS`. Raises `UserError` naming those there are."""
    weights = {}
    for text in terms:
        name, _, weight = text.partition("=")
        if name not in TERMS:
            raise UserError(f"unknown term {name!r} of the pruning's objective; there are {', '.join(TERMS)}")
        try:
            weights[name] = float(weight or 1)
        except ValueError:
            raise UserError(f"the weight of term {name} is {weight!r}; write it as a number, {name}=0.5") from None
        if not 0 < weights[name] < float("inf"):
            raise UserError(f"the weight of term {name} is {weight}; it has to be positive")
    return {name: weights[name] for name in TERMS if name in weights}
