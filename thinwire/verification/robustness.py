"""Robustness of what was read off: do circuit and model still choose alike on prompts unlike those of the task?

Longer names, more context, deeper nesting, other quotes. Where the whole model fails, the circuit has to fail with it:
the context-dilution test of a bracket circuit (Gao et al. 2025, section 4) is of this kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from thinwire.circuits.ablation import Means, isolate
from thinwire.circuits.prompts import Prompts, logit_difference, task_accuracy
from thinwire.model.gpt import GPT
from thinwire.verification.claim import Claim
from thinwire.verification.finding import Finding, percent
from thinwire.verification.interchange import correlation

AGREEMENT = 0.8
THRESHOLD = f"on every kind of shifted prompts the same answer on at least {percent(AGREEMENT)} of them"


@dataclass(frozen=True)
class Shifted:
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
    kinds: dict[str, Shifted]


@torch.no_grad()
def robustness(model: GPT, claim: Claim, means: Means, shifted: Mapping[str, Prompts]) -> Robustness:
    """Answers of circuit and whole model on every kind of shifted prompts. Without any kind nothing is decided."""
    hook = isolate(model, claim.nodes, means)
    kinds = {}
    for name, prompts in shifted.items():
        whole, kept = logit_difference(model, prompts), logit_difference(model, prompts, hook)
        kinds[name] = Shifted(
            model_accuracy=task_accuracy(whole, prompts.sign),
            circuit_accuracy=task_accuracy(kept, prompts.sign),
            agreement=float((whole.sign() == kept.sign()).float().mean()),
            correlation=correlation(whole, kept),
            n_prompts=len(prompts.lengths),
        )
    return Robustness(
        passed=all(kind.agreement >= AGREEMENT for kind in kinds.values()) if kinds else None,
        threshold=THRESHOLD,
        sentence=_sentence(kinds),
        kinds=kinds,
    )


def _sentence(kinds: Mapping[str, Shifted]) -> str:
    if not kinds:
        return "There are no shifted prompts for this task."
    parts = [
        f"{name.replace('_', ' ')} {percent(kind.agreement)} (model right on {percent(kind.model_accuracy)}, circuit "
        f"on {percent(kind.circuit_accuracy)})"
        for name, kind in kinds.items()
    ]
    return f"Circuit and model choose the same answer on shifted prompts: {', '.join(parts)}."
