"""Reconstruction: how much of each node's activation in the whole model is there in the circuit?

The fraction of variance unexplained, site by site: over the circuit's nodes and all tokens of the prompts, the mean
square of (whole model - circuit) over that of (whole model - stand-in). 0: the node does what it does in the model; 1:
no better than its stand-in. Reported; a circuit may scale its values and still compute alike (interchange asks for
that).
"""

from dataclasses import dataclass
from statistics import median

import torch

from thinwire.circuits.patching import record, token_rows
from thinwire.progress import Progress, silent
from thinwire.storage.records import Ratio, Text
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Report
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import percent
from thinwire.verification.subject import Subject


@dataclass(frozen=True, kw_only=True)
class Reconstruction(Report):
    unexplained: dict[Text, Ratio]
    """Site -> fraction of variance unexplained; sites whose nodes do not vary are left out."""
    worst: Ratio | None
    """Largest of them."""


@torch.no_grad()
def reconstruction(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Reconstruction:
    """Activations of the circuit's nodes inside the circuit, against those in the whole model."""
    alone = subject.alone(material.test_pairs(budget.survey_pairs))
    ours, _ = record(subject.model, alone.prompts, alone.hook, alone.edges)
    theirs, _ = record(subject.model, alone.prompts)
    ours, theirs, found = token_rows(ours, alone.prompts), token_rows(theirs, alone.prompts), {}
    for site, channels in subject.claim.nodes.items():
        a, b = ours[site][:, channels], theirs[site][:, channels]
        varies = float((b - subject.means[site][channels]).square().sum())
        if varies > 0:
            found[site] = float((b - a).square().sum()) / varies
    worst = max(found, key=found.__getitem__, default=None)
    return Reconstruction(
        sentence="No node of the circuit varies on these prompts."
        if worst is None
        else f"Of the variance of the circuit's nodes in the whole model the circuit leaves {percent(found[worst])} "
        f"unexplained at {worst}, its worst site, and {percent(median(found.values()))} at the median one.",
        n_pairs=alone.prompts.n_pairs,
        unexplained=found,
        worst=None if worst is None else found[worst],
    )
