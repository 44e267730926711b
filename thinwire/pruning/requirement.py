"""Named lists of terms: what a circuit is asked for. Data only, no torch.

sufficient   the circuit alone does the task (Gao et al. 2025)
robust       and does so whatever the rest of the model says
faithful     and its nodes do in it what they do in the model: what the verdict of `verify` rests on
"""

from typing import Literal, get_args

Requirement = Literal["sufficient", "robust", "faithful"]
REQUIREMENTS: dict[Requirement, tuple[str, ...]] = {
    "sufficient": ("mean",),
    "robust": ("mean", "stochastic", "counterfactual"),
    "faithful": ("mean", "stochastic", "counterfactual", "interchange"),
}


def ladder(requirement: Requirement) -> tuple[Requirement, ...]:
    """The requirement and all weaker ones, the weakest first."""
    names: tuple[Requirement, ...] = get_args(Requirement)
    return names[: names.index(requirement) + 1]
