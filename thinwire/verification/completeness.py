r"""Completeness: does a part of the circuit matter as much in the whole model as in the circuit?

For sets K of the circuit's nodes, the circuit without K is held against the whole model without K: the difference of
|F(C \ K) - F(M \ K)|, F being the mean logit difference in favour of the right answer as a share of what the system has
with nothing removed. Where the model goes on without K and the circuit does not, a backup stands outside the circuit.
Source: Wang et al. 2022, section 4 (completeness). Nothing in the pruning asks for it.
"""

from dataclasses import dataclass

import torch

from thinwire.circuits.prompts import logit_difference
from thinwire.model.nodes import list_nodes
from thinwire.progress import Progress, silent
from thinwire.storage.records import Count, Number, Ratio
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding, NotRun
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import percent
from thinwire.verification.subject import Subject
from thinwire.verification.variants import (
    random_subsets,
    replace_in_circuit,
    replace_in_model,
    sample,
    single,
)

SHARES = (0.1, 0.3, 0.5)
GAP = 0.05
THRESHOLD = f"over single nodes and random sets the mean gap is at most {percent(GAP)} of the difference"


@dataclass(frozen=True)
class RemovedSet:
    """A set of the circuit's nodes taken out of both."""

    n_nodes: Count
    circuit: Number
    """What is left of the circuit's difference without it, as a share."""
    model: Number
    """What is left of the whole model's."""

    @property
    def gap(self) -> float:
        return abs(self.circuit - self.model)


@dataclass(frozen=True, kw_only=True)
class Completeness(Finding):
    gap: Ratio
    """Mean over all sets."""
    worst: Ratio
    sets: list[RemovedSet]
    """Single nodes and random sets of three sizes, largest gap first."""


@torch.no_grad()
def completeness(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Completeness:
    """Remove single nodes and random sets of the circuit's nodes from the circuit and from the whole model.

    Raises `NotRun` when one of the two does not favour the right answer to begin with.
    """
    model, alone = subject.model, subject.alone(material.test_pairs(budget.survey_pairs))
    sign, nodes = alone.prompts.sign, list_nodes(subject.claim.nodes)
    sets = single(sample(nodes, budget.nodes, seed))
    sets += [subset for share in SHARES for subset in random_subsets(nodes, share, budget.draws, seed)]
    ours, theirs = (alone.difference() * sign).mean(), (logit_difference(model, alone.prompts) * sign).mean()
    if not sets or float(ours) <= 0 or float(theirs) <= 0:
        raise NotRun("circuit and model do not both favour the right answer, so that no share of it can be lost")
    in_circuit = (replace_in_circuit(alone, sets, subject.means) * sign).mean(1) / ours
    in_model = (replace_in_model(model, alone.prompts, sets, subject.means) * sign).mean(1) / theirs
    found = [
        RemovedSet(sum(map(len, removed.values())), c, m)
        for removed, c, m in zip(sets, in_circuit.tolist(), in_model.tolist(), strict=True)
    ]
    found.sort(key=lambda removed: -removed.gap)
    gap, worst = sum(removed.gap for removed in found) / len(found), found[0]
    return Completeness(
        passed=gap <= GAP,
        threshold=THRESHOLD,
        sentence=f"Without single nodes or random sets of its nodes the circuit and the whole model keep shares of the "
        f"difference that are {percent(gap)} apart on average; at worst, without {worst.n_nodes} nodes, the circuit "
        f"keeps {percent(worst.circuit)} and the model {percent(worst.model)}.",
        n_pairs=alone.prompts.n_pairs,
        gap=gap,
        worst=worst.gap,
        sets=found,
    )
