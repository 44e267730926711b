"""Seeds and backups: is this the circuit, or one of many?

Pruning again with other seeds shows what is common to the circuits; forbidding the nodes that were found and pruning
again, round by round, shows how many circuits without a common node the model holds (Hao and Goldstein 2026).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from torch import Tensor

from thinwire.circuits.ablation import isolate
from thinwire.circuits.overlap import node_overlap
from thinwire.circuits.prompts import logit_difference, task_loss
from thinwire.model.nodes import Nodes
from thinwire.progress import Progress, silent
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import correlation, mean, percent, same_sign
from thinwire.verification.pruner import Pruned, Pruner, SplitPairs
from thinwire.verification.subject import Subject
from thinwire.verification.variants import list_nodes

THRESHOLD = "no second circuit that shares no node with the first one is found"


@dataclass(frozen=True)
class FurtherCircuit:
    """One more circuit of the task."""

    solved: bool
    loss: float
    n_nodes: int
    n_edges: int

    @classmethod
    def of(cls, pruned: Pruned) -> "FurtherCircuit":
        return cls(pruned.solved, pruned.loss, pruned.n_nodes, pruned.n_edges)


@dataclass(frozen=True, kw_only=True)
class Seeds(Finding):
    circuits: list[FurtherCircuit]
    """With other seeds; the claimed circuit is not among them."""
    node_overlap: float | None
    """Mean intersection over union of the nodes, over pairs of circuits, the claimed one among them."""
    same_answer: float | None
    """Mean share of prompts on which two circuits prefer the same answer."""
    correlation: float | None
    """Mean correlation of two circuits' logit differences, after the mean of each side is taken off."""
    core: dict[str, list[int]]
    """Nodes that all circuits share."""
    core_loss: float
    """Loss with the core alone."""
    exhausted: list[FurtherCircuit]
    """Rounds of exhaustion in order, each with all nodes found before it forbidden; ends with the first not solved."""
    n_disjoint: int
    """Circuits without a common node, the claimed one among them; a lower bound when the last round was solved."""


def seeds(
    subject: Subject, material: TaskMaterial, budget: Budget, seed: int = 0, progress: Progress = silent
) -> Seeds:
    """Prune with further seeds, from `seed` + 1 on, then forbid and prune again, round by round.

    Raises `NotRun` when there is no pruning or the budget has none.
    """
    model, claim, means = subject.model, subject.claim, subject.means
    pruner, pairs = material.pruning(budget.seeds + budget.rounds > 0)
    node_sets, found = [claim.nodes], []
    with progress(f"seeds {claim.task}", total=budget.seeds + budget.rounds, unit="pruning") as advance:
        for i in range(budget.seeds):
            pruned = pruner(model, pairs, seed + 1 + i, {})
            found.append(FurtherCircuit.of(pruned))
            if pruned.solved:
                node_sets.append(pruned.nodes)
            advance(1)
        exhausted = exhaust(subject, pairs, pruner, budget.rounds, seed)
        advance(budget.rounds)
    core, prompts = shared(node_sets), material.test
    kept = subject.alone(prompts).difference()
    others = [logit_difference(model, prompts, isolate(model, nodes, means)).detach() for nodes in node_sets[1:]]
    answers = [kept, *others]
    n_disjoint = 1 + sum(f.solved for f in exhausted)
    overlap = node_overlap(node_sets)
    return Seeds(
        passed=n_disjoint == 1 if exhausted else None,
        threshold=THRESHOLD,
        sentence=_sentence(len(node_sets) - 1, len(found), overlap, core, exhausted, n_disjoint),
        n_pairs=prompts.n_pairs,
        circuits=found,
        node_overlap=overlap,
        same_answer=mean([same_sign(a, b) for a, b in combinations(answers, 2)]),
        correlation=mean([c for a, b in combinations(answers, 2) if (c := _within_sides(a, b)) is not None]),
        core=core,
        core_loss=float(task_loss(logit_difference(model, prompts, isolate(model, core, means)), prompts.sign)),
        exhausted=exhausted,
        n_disjoint=n_disjoint,
    )


def exhaust(subject: Subject, pairs: SplitPairs, pruner: Pruner, n_rounds: int, seed: int) -> list[FurtherCircuit]:
    """Forbid what was found and prune again, until a round is not solved."""
    forbidden = {site: list(channels) for site, channels in subject.claim.nodes.items()}
    found = []
    for _ in range(n_rounds):
        pruned = pruner(subject.model, pairs, seed, forbidden)
        found.append(FurtherCircuit.of(pruned))
        if not pruned.solved:
            break
        for site, channels in pruned.nodes.items():
            forbidden[site] = sorted({*forbidden.get(site, []), *channels})
    return found


def shared(node_sets: Sequence[Nodes]) -> dict[str, list[int]]:
    """Nodes that are in every set."""
    common = set.intersection(*(set(list_nodes(nodes)) for nodes in node_sets))
    core: dict[str, list[int]] = {}
    for site, channel in list_nodes(node_sets[0]):
        if (site, channel) in common:
            core.setdefault(site, []).append(channel)
    return core


def _within_sides(a: Tensor, b: Tensor) -> float | None:
    def centred(x: Tensor) -> Tensor:
        sides = x.unflatten(0, (2, -1))
        return (sides - sides.mean(1, keepdim=True)).flatten()

    return correlation(centred(a), centred(b))


def _sentence(
    n_solved: int,
    n_seeds: int,
    overlap: float | None,
    core: Nodes,
    exhausted: Sequence[FurtherCircuit],
    n_disjoint: int,
) -> str:
    again = f"{n_solved} of {n_seeds} further seeds find a circuit"
    if overlap is not None:
        again += f"; on average two share {percent(overlap)} of their nodes, all share {len(list_nodes(core))}"
    if not exhausted:
        return f"{again}. Backups were not searched."
    more = ", at least" if exhausted[-1].solved else ""
    return (
        f"{again}. With found nodes forbidden for {len(exhausted)} rounds: {n_disjoint} circuits without a common "
        f"node{more}."
    )
