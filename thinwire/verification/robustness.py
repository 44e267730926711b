"""Robustness of what was read off: do circuit and model still choose alike on prompts unlike those of the task?

Longer names, more context, deeper nesting, other quotes. Where the whole model fails, the circuit has to fail with it:
the context-dilution test of a bracket circuit (Gao et al. 2025, section 4) is of this kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from thinwire.circuits.prompts import logit_difference, task_accuracy
from thinwire.progress import Progress, silent
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding
from thinwire.verification.material import PAIRS_SEED, TaskMaterial
from thinwire.verification.measures import correlation, percent, same_sign
from thinwire.verification.subject import Subject
from thinwire.verification.variants import sample_pairs

AGREEMENT = 0.8
THRESHOLD = f"on every kind of shifted prompts the same answer on at least {percent(AGREEMENT)} of them"


@dataclass(frozen=True)
class ShiftAgreement:
    """One kind of shifted prompts."""

    model_accuracy: float
    circuit_accuracy: float
    agreement: float
    """Share of prompts on which circuit and model prefer the same answer."""
    correlation: float | None
    """Of their logit differences over prompts."""
    n_prompts: int


@dataclass(frozen=True, kw_only=True)
class Robustness(Finding):
    kinds: dict[str, ShiftAgreement]


@torch.no_grad()
def robustness(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Robustness:
    """Answers of circuit and whole model on every kind of shifted prompts. Without any kind nothing is decided."""
    kinds = {}
    for name, pairs in material.shifted.items():
        prompts = sample_pairs(pairs, budget.shifted_pairs, PAIRS_SEED)
        whole, kept = logit_difference(subject.model, prompts), subject.alone(prompts).difference()
        kinds[name] = ShiftAgreement(
            model_accuracy=task_accuracy(whole, prompts.sign),
            circuit_accuracy=task_accuracy(kept, prompts.sign),
            agreement=same_sign(whole, kept),
            correlation=correlation(whole, kept),
            n_prompts=len(prompts.lengths),
        )
    return Robustness(
        passed=all(kind.agreement >= AGREEMENT for kind in kinds.values()) if kinds else None,
        threshold=THRESHOLD,
        sentence=_sentence(kinds),
        n_pairs=min(kind.n_prompts for kind in kinds.values()) // 2 if kinds else None,
        kinds=kinds,
    )


def _sentence(kinds: Mapping[str, ShiftAgreement]) -> str:
    if not kinds:
        return "There are no shifted prompts for this task."
    parts = [
        f"{name.replace('_', ' ')} {percent(kind.agreement)} (model right on {percent(kind.model_accuracy)}, circuit "
        f"on {percent(kind.circuit_accuracy)})"
        for name, kind in kinds.items()
    ]
    return f"Circuit and model choose the same answer on shifted prompts: {', '.join(parts)}."
