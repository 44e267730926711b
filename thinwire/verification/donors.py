"""Donors: do circuit and model react alike to activations from other pairs, in each direction by itself?

Interchange takes a node's activations from the other side of the same pair and averages over both directions. Here they
come from the other side of another pair of the same length, clean prompts patched from corrupt ones and corrupt from
clean ones apart, and random sets of nodes are patched beside single ones. What is asked is not that a patch carries the
answer but that it does to the circuit what it does to the model: the share of patched prompts on which both then choose
the same answer is the interchange intervention accuracy (Geiger et al. 2021). No step of the pruning patches in this
way.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from thinwire.circuits.prompts import Prompts
from thinwire.model.nodes import Nodes, list_nodes
from thinwire.progress import Progress, silent
from thinwire.storage.records import Count, Share
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding, NotRun
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import mean, percent
from thinwire.verification.patching import (
    AGREE,
    Agreement,
    Donors,
    Patched,
    patch_circuit,
    patch_model,
    require_aligned,
)
from thinwire.verification.subject import Subject
from thinwire.verification.variants import random_subsets, sample, single

ACCURACY = 0.8
SHARES = (0.1, 0.3, 0.5)
FOREIGN = 0.5
"""Share of the prompts that need a donor from another pair for the test to be run."""
THRESHOLD = (
    f"in each direction, {AGREE}; after {percent(ACCURACY)} of the patches of random sets circuit and model choose the "
    f"same answer"
)


@dataclass(frozen=True, kw_only=True)
class DonorsFinding(Finding):
    to_corrupt: Agreement
    """Of single nodes, over clean prompts that take from corrupt ones."""
    to_clean: Agreement
    accuracy: Share
    """Interchange intervention accuracy: share of (set of nodes, prompt) on which circuit and model, patched alike,
    prefer the same answer."""
    moved_accuracy: Share | None
    """The same over those where the patch changes the answer of one of the two; None where it changes none."""
    n_moved: Count
    n_sets: Count
    foreign: Share
    """Share of the prompts whose donor is from another pair; for the others there is none of their length."""


def donors(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> DonorsFinding:
    """Patch single nodes and random sets from other pairs, in the circuit and in the model.

    Raises `NotRun` when pairs have sides of different lengths, or hardly any two pairs have the same length.
    """
    claim, prompts = subject.claim, material.test_pairs(budget.survey_pairs)
    require_aligned(prompts, claim.task)
    taken, foreign = cross_pair_donors(prompts, seed)
    if foreign < FOREIGN:
        raise NotRun(f"only {percent(foreign)} of the prompts have another pair of their length to take from")
    nodes = list_nodes(claim.nodes)
    chosen = sample(nodes, budget.nodes, seed)
    sets = [subset for share in SHARES for subset in random_subsets(nodes, share, budget.draws, seed)]
    variants: list[Nodes] = [*single(chosen), *sets]
    circuit = patch_circuit(subject.alone(prompts), variants, taken)
    model = patch_model(subject.model, prompts, variants, taken)
    clean, corrupt = (_direction(circuit, model, len(chosen), prompts.sign == sign) for sign in (1, -1))
    same, moved = _same_answers(circuit, model, len(chosen))
    accuracy = float(same.float().mean()) if same.numel() else 1.0
    return DonorsFinding(
        passed=clean.holds and corrupt.holds and accuracy >= ACCURACY,
        threshold=THRESHOLD,
        sentence=f"With activations from other pairs: clean prompts from corrupt ones, {clean.words()}; corrupt from "
        f"clean ones, {corrupt.words()}. After patching {len(sets)} random sets of nodes circuit and model choose the "
        f"same answer on {percent(accuracy)} of the prompts.",
        n_pairs=prompts.n_pairs,
        to_corrupt=clean,
        to_clean=corrupt,
        accuracy=accuracy,
        moved_accuracy=mean(same[moved].float().tolist()),
        n_moved=int(moved.sum()),
        n_sets=len(sets),
        foreign=foreign,
    )


def cross_pair_donors(prompts: Prompts, seed: int) -> tuple[Donors, float]:
    """(donors, share of them from another pair): for every prompt one of the other side, of its length.

    Drawn at random among other pairs; the own pair's other side where no other pair has the length.
    """
    n, generator = prompts.n_pairs, torch.Generator().manual_seed(seed)
    lengths = prompts.lengths.cpu()
    found, foreign = torch.empty(2 * n, dtype=torch.long), 0
    for row in range(2 * n):
        pair, first = row % n, 0 if row >= n else n
        others = (lengths[first : first + n] == lengths[row]).nonzero().flatten()
        others = others[others != pair]
        foreign += len(others) > 0
        drawn = others[torch.randint(len(others), (1,), generator=generator)] if len(others) else torch.tensor([pair])
        found[row] = first + drawn
    return found.to(prompts.lengths.device), foreign / (2 * n)


def _direction(circuit: Patched, model: Patched, n_single: int, rows: Bool[Tensor, " P"]) -> Agreement:
    ours, theirs = (patched.effects()[:n_single, rows].mean(1).tolist() for patched in (circuit, model))
    return Agreement.of(ours, theirs)


def _same_answers(circuit: Patched, model: Patched, n_single: int) -> tuple[Bool[Tensor, "V P"], Bool[Tensor, "V P"]]:
    """(whether both prefer the same answer, whether one of the two changed its own), for the random sets."""
    ours, theirs = circuit.after[n_single:].sign(), model.after[n_single:].sign()
    moved = (ours != circuit.before.sign()) | (theirs != model.before.sign())
    return ours == theirs, moved
