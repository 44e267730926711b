"""Robustness: how far beyond the task's prompts do circuit and model still choose alike?

Longer names, more context, deeper nesting, other quotes. Where the whole model fails, the circuit has to fail with it:
the context-dilution test of a bracket circuit (Gao et al. 2025, section 4) is of this kind. A shift on which they part
lies outside what was shown. It speaks against a circuit only where the circuit claims to cover it (`Claim.scope`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from thinwire.circuits.prompts import Prompts, logit_difference, task_accuracy
from thinwire.progress import Progress, silent
from thinwire.storage.records import Correlation, Count, Share
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding, Outcome
from thinwire.verification.material import PAIRS_SEED, TaskMaterial
from thinwire.verification.measures import correlation, percent, same_sign
from thinwire.verification.subject import Subject
from thinwire.verification.variants import sample_pairs

AGREEMENT = 0.8
DONE = 0.9
"""Share of a shift's prompts on which a model that does them is right."""
THRESHOLD = (
    f"a shift holds where circuit and model choose the same answer on {percent(AGREEMENT)} of its prompts or more, and "
    f"the circuit is right on as many where the model is right on {percent(DONE)}; what the claim covers has to hold"
)


@dataclass(frozen=True)
class ShiftAgreement:
    """One kind of shifted prompts."""

    model_accuracy: Share
    circuit_accuracy: Share
    agreement: Share
    """Share of prompts on which circuit and model prefer the same answer."""
    correlation: Correlation | None
    """Of their logit differences over prompts."""
    n_prompts: Count

    @property
    def holds(self) -> bool:
        """Whether the circuit is still how the model answers, as far as answers tell."""
        follows = self.model_accuracy < DONE or self.circuit_accuracy >= AGREEMENT
        return self.agreement >= AGREEMENT and follows


@dataclass(frozen=True, kw_only=True)
class Robustness(Finding):
    kinds: dict[str, ShiftAgreement]
    claimed: tuple[str, ...]
    """Shifts that the claim covers."""
    holds: list[str]
    """Shifts that hold."""
    parts: list[str]
    """Shifts on which circuit and model part."""
    unmeasured: dict[str, str]
    """Shift -> why it could not be measured."""

    @property
    def outcome(self) -> Outcome:
        return "reported" if self.passed is None and self.kinds else super().outcome


@torch.no_grad()
def robustness(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Robustness:
    """Answers of circuit and whole model on every kind of shifted prompts."""
    kinds = {
        name: _agreement(subject, sample_pairs(pairs, budget.shifted_pairs, PAIRS_SEED))
        for name, pairs in material.shifted.items()
    }
    claimed = subject.claim.scope
    unmeasured = dict(material.unmeasured_shifts)
    unmeasured |= {name: "the task has no such shift" for name in claimed if name not in {*kinds, *unmeasured}}
    parts = [name for name, kind in kinds.items() if not kind.holds]
    return Robustness(
        passed=_decide(claimed, parts, unmeasured),
        threshold=THRESHOLD,
        sentence=_sentence(kinds, unmeasured),
        n_pairs=min((kind.n_prompts for kind in kinds.values()), default=0) // 2 or None,
        kinds=kinds,
        claimed=claimed,
        holds=[name for name in kinds if name not in parts],
        parts=parts,
        unmeasured=unmeasured,
    )


def _decide(claimed: tuple[str, ...], parts: list[str], unmeasured: Mapping[str, str]) -> bool | None:
    """None where nothing is claimed, or something claimed could not be measured and nothing claimed fails."""
    if any(name in parts for name in claimed):
        return False
    return None if not claimed or any(name in unmeasured for name in claimed) else True


def _agreement(subject: Subject, prompts: Prompts) -> ShiftAgreement:
    whole, kept = logit_difference(subject.model, prompts), subject.alone(prompts).difference()
    return ShiftAgreement(
        model_accuracy=task_accuracy(whole, prompts.sign),
        circuit_accuracy=task_accuracy(kept, prompts.sign),
        agreement=same_sign(whole, kept),
        correlation=correlation(whole, kept),
        n_prompts=len(prompts.lengths),
    )


def _sentence(kinds: Mapping[str, ShiftAgreement], unmeasured: Mapping[str, str]) -> str:
    said = [
        f"{name.replace('_', ' ')} {percent(kind.agreement)} (model right on {percent(kind.model_accuracy)}, circuit "
        f"on {percent(kind.circuit_accuracy)})"
        for name, kind in kinds.items()
    ]
    found = f"Circuit and model choose the same answer on shifted prompts: {', '.join(said)}."
    missing = " ".join(f"Not measured: {name.replace('_', ' ')} ({why})." for name, why in unmeasured.items())
    return " ".join(filter(None, [found if said else "", missing])) or "There are no shifted prompts for this task."
