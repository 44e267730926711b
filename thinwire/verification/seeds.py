"""Seeds and backups: is this the circuit, or one of many?

Pruning again with other seeds shows what is common to the circuits. Then exhaustion: the interior nodes that at least
half of the circuits share are forbidden and pruning starts again, round by round, until it finds none; how often can
the model do without? Embedding and final nodes are never forbidden: every circuit has to read the prompt and write the
answer, and with these gone there would be none to find. Source: Hao and Goldstein 2026.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from torch import Tensor

from thinwire.circuits.ablation import isolate
from thinwire.circuits.graph import Channel
from thinwire.circuits.overlap import node_overlap
from thinwire.circuits.prompts import logit_difference, task_loss
from thinwire.model.nodes import Nodes, gathered, list_nodes
from thinwire.model.sites import EMBED, FINAL
from thinwire.progress import Progress, silent
from thinwire.storage.records import Correlation, Count, Loss, Share, Text
from thinwire.verification.budget import Budget
from thinwire.verification.finding import Finding
from thinwire.verification.material import TaskMaterial
from thinwire.verification.measures import correlation, mean, percent, same_sign
from thinwire.verification.pruner import Pruned
from thinwire.verification.subject import Subject

FREQUENT = 0.5
"""Share of a round's circuits that have to hold a node for it to be forbidden in the next one."""
THRESHOLD = f"no circuit is found with the interior nodes forbidden that {percent(FREQUENT)} of the circuits share"


@dataclass(frozen=True)
class FurtherCircuit:
    """One more circuit of the task."""

    solved: bool
    loss: Loss
    n_nodes: Count
    n_edges: Count

    @classmethod
    def of(cls, pruned: Pruned) -> "FurtherCircuit":
        return cls(pruned.solved, pruned.loss, pruned.n_nodes, pruned.n_edges)


@dataclass(frozen=True, kw_only=True)
class Seeds(Finding):
    circuits: list[FurtherCircuit]
    """With other seeds; the claimed circuit is not among them."""
    node_overlap: Share | None
    """Mean intersection over union of the nodes, over pairs of circuits, the claimed one among them."""
    same_answer: Share | None
    """Mean share of prompts on which two circuits prefer the same answer."""
    correlation: Correlation | None
    """Mean correlation of two circuits' logit differences, after the mean of each side is taken off."""
    core: dict[Text, list[Channel]]
    """Nodes that all circuits share."""
    core_loss: Loss
    """Loss with the core alone."""
    exhausted: list[FurtherCircuit]
    """Rounds of exhaustion in order, ending with the first that is not solved."""
    n_forbidden: list[Count]
    """Interior nodes forbidden in each round."""
    n_circuits: Count
    """Circuits one after the other, the claimed one among them; a lower bound when the last round was solved."""


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

        def prune_without(forbidden: Nodes) -> Pruned:
            advance(1)
            return pruner(model, pairs, seed, forbidden)

        exhausted, n_forbidden = exhaust(node_sets, prune_without, budget.rounds)
    core, prompts = shared(node_sets), material.test
    kept = subject.alone(prompts).difference()
    others = [logit_difference(model, prompts, isolate(model, nodes, means)).detach() for nodes in node_sets[1:]]
    answers = [kept, *others]
    n_circuits = 1 + sum(f.solved for f in exhausted)
    overlap = node_overlap(node_sets)
    return Seeds(
        passed=n_circuits == 1 if exhausted else None,
        threshold=THRESHOLD,
        sentence=_sentence(len(node_sets) - 1, len(found), overlap, core)
        + _backups(exhausted, n_forbidden, n_circuits),
        n_pairs=prompts.n_pairs,
        circuits=found,
        node_overlap=overlap,
        same_answer=mean([same_sign(a, b) for a, b in combinations(answers, 2)]),
        correlation=mean([c for a, b in combinations(answers, 2) if (c := _within_sides(a, b)) is not None]),
        core=core,
        core_loss=float(task_loss(logit_difference(model, prompts, isolate(model, core, means)), prompts.sign)),
        exhausted=exhausted,
        n_forbidden=n_forbidden,
        n_circuits=n_circuits,
    )


def exhaust(
    circuits: Sequence[Nodes], prune_without: Callable[[Nodes], Pruned], n_rounds: int
) -> tuple[list[FurtherCircuit], list[int]]:
    """Forbid what the circuits share and prune again, until a round is not solved; (circuits found, nodes
    forbidden)."""
    forbidden = frequent_interior(circuits)
    found, n_forbidden = [], []
    for _ in range(n_rounds):
        pruned = prune_without(forbidden)
        found.append(FurtherCircuit.of(pruned))
        n_forbidden.append(len(list_nodes(forbidden)))
        if not pruned.solved:
            break
        forbidden = union(forbidden, frequent_interior([pruned.nodes]))
    return found, n_forbidden


def frequent_interior(circuits: Sequence[Nodes]) -> dict[str, list[int]]:
    """Nodes between the embedding and the final norm that at least `FREQUENT` of the circuits hold."""
    counts = Counter(node for nodes in circuits for node in list_nodes(nodes))
    return gathered(
        (site, channel)
        for (site, channel), count in sorted(counts.items())
        if count >= FREQUENT * len(circuits) and site not in (EMBED, FINAL)
    )


def union(a: Nodes, b: Nodes) -> dict[str, list[int]]:
    """Nodes of either."""
    return {site: sorted({*a.get(site, ()), *b.get(site, ())}) for site in {**a, **b}}


def shared(node_sets: Sequence[Nodes]) -> dict[str, list[int]]:
    """Nodes that are in every set."""
    common = set.intersection(*(set(list_nodes(nodes)) for nodes in node_sets))
    return gathered(node for node in list_nodes(node_sets[0]) if node in common)


def _within_sides(a: Tensor, b: Tensor) -> float | None:
    def centred(x: Tensor) -> Tensor:
        sides = x.unflatten(0, (2, -1))
        return (sides - sides.mean(1, keepdim=True)).flatten()

    return correlation(centred(a), centred(b))


def _sentence(n_solved: int, n_seeds: int, overlap: float | None, core: Nodes) -> str:
    again = f"{n_solved} of {n_seeds} further seeds find a circuit"
    if overlap is not None:
        again += f"; on average two share {percent(overlap)} of their nodes, all share {len(list_nodes(core))}"
    return f"{again}."


def _backups(exhausted: Sequence[FurtherCircuit], n_forbidden: Sequence[int], n_circuits: int) -> str:
    if not exhausted:
        return " Backups were not searched."
    if n_circuits == 1:
        return f" With the {n_forbidden[0]} interior nodes forbidden that they share none is found."
    more = ", at least" if exhausted[-1].solved else ""
    return (
        f" With the {n_forbidden[0]} interior nodes forbidden that they share another is found, and so on: "
        f"{n_circuits} circuits one after the other{more}."
    )
