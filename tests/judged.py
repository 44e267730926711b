"""Hand-built models as the verification takes them."""

from dataclasses import replace
from typing import Any

from micro_model import HandModel

from thinwire.circuits.prompts import Prompts
from thinwire.verification.budget import BUDGETS, Budget
from thinwire.verification.claim import Claim
from thinwire.verification.material import TaskMaterial
from thinwire.verification.subject import Subject


def subject_of(hand: HandModel, **claimed: Any) -> Subject:
    """The true circuit of a hand-built model, with other values for fields of the claim."""
    return Subject(hand.model, replace(Claim.of(hand.circuit), **claimed), hand.means)


def material_of(hand: HandModel, **more: Any) -> TaskMaterial:
    """Its prompts and shifts."""
    found = TaskMaterial(
        test=hand.prompts,
        search=Prompts.of(hand.pairs["validation"]),
        shifted={name: Prompts.of(tokens) for name, tokens in hand.shifted.items()},
        windows=hand.windows,
    )
    return replace(found, **more)


def budget_of(**counts: Any) -> Budget:
    """All pairs, few of everything else."""
    values = {
        "random_sets": 30,
        "null_pairs": 64,
        "pairs": 64,
        "survey_pairs": 64,
        "search_pairs": 64,
        "nodes": 1000,
        "edges": 1000,
    }
    return replace(BUDGETS["fast"], **(values | counts))
