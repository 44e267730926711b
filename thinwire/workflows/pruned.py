"""What pruning comes to, as `thinwire prune` shows it: one row for each circuit, and sizes over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from thinwire.circuits.graph import Circuit, Demand, Score
from thinwire.circuits.overlap import node_overlap
from thinwire.circuits.solved import SOLVED_MEANS, caution, standing
from thinwire.runs.settings import settings_name
from thinwire.runs.verdicts import stored_verdict


@dataclass(frozen=True)
class PrunedCircuit:
    """One circuit, whether it solves its task, and what was measured of it."""

    task: str
    seed: int
    settings: str
    """What differs from the default settings."""
    requirement: str
    solved: bool
    """The whole model does the task and the circuit alone does it, on test pairs (`circuits.solved`)."""
    model_does: bool
    target_met: bool
    """Whether the search met what was asked of it, on validation pairs."""
    circuit_does: bool
    why_not: tuple[str, ...]
    """What is missing to `solved`."""
    verdict: str | None
    """Of `thinwire verify`; None where this circuit has not been verified."""
    void_verdict: str | None
    """Of the circuit that lay here before and was another one: it went with it."""
    n_nodes: int
    n_edges: int
    n_minimal_edges: int | None
    anatomy: str | None
    """What it is made of, in words; None for circuits from before it was kept."""
    unswept: tuple[int, int] | None
    """Nodes and edges before the sweep."""
    demands: Mapping[str, Demand]
    """Term -> value and limit on validation pairs."""
    target_loss: float
    best_validation_loss: float
    n_test_pairs: int | None
    caution: str | None
    """What to say of numbers that few pairs stand behind."""
    validation: Score
    test: Score
    model_test: Score
    """Of the whole model."""
    path: str


@dataclass(frozen=True)
class Spread:
    """Sizes over seeds."""

    median: float
    smallest: int
    largest: int


@dataclass(frozen=True)
class OverSeeds:
    """Circuits of one task and requirement that differ in the seed: sizes of those that met their target."""

    task: str
    requirement: str
    n_seeds: int
    n_target_met: int
    n_solved: int
    n_nodes: Spread | None
    n_edges: Spread | None
    n_minimal_edges: Spread | None
    n_edges_unswept: Spread | None
    node_overlap: float | None
    """Mean share of common nodes of two circuits (Jaccard)."""


@dataclass(frozen=True)
class PruneResult:
    """What `thinwire prune` prints."""

    run: str
    solved_means: str
    circuits: tuple[PrunedCircuit, ...]
    over_seeds: tuple[OverSeeds, ...]
    unavailable: Mapping[str, str]
    """Task -> why its answers are no tokens here."""


def prune_result(
    run: str, circuits: Mapping[Path, Circuit], void: Mapping[Path, str], unavailable: Mapping[str, str]
) -> PruneResult:
    """The result of circuits by their directories; `void` are the verdicts that circuits of before had there."""
    rows = tuple(_pruned(circuit, path, void.get(path)) for path, circuit in circuits.items())
    groups: dict[tuple[str, str], list[Circuit]] = {}
    for circuit in circuits.values():
        groups.setdefault((circuit.task, circuit.requirement), []).append(circuit)
    seeds = tuple(_over_seeds(*key, group) for key, group in groups.items())
    return PruneResult(run, SOLVED_MEANS, rows, seeds, unavailable)


def _pruned(circuit: Circuit, path: Path, void: str | None) -> PrunedCircuit:
    found = standing(circuit)
    return PrunedCircuit(
        task=circuit.task,
        seed=circuit.seed,
        settings=settings_name(circuit.hyperparameters),
        requirement=circuit.requirement,
        solved=found.solved,
        model_does=found.model_does,
        target_met=found.target_met,
        circuit_does=found.circuit_does,
        why_not=found.why_not,
        verdict=stored_verdict(path),
        void_verdict=void,
        n_nodes=circuit.n_nodes,
        n_edges=circuit.n_edges,
        n_minimal_edges=circuit.n_minimal_edges,
        anatomy=circuit.anatomy.words if circuit.anatomy else None,
        unswept=circuit.unswept,
        demands=circuit.demands,
        target_loss=circuit.target_loss,
        best_validation_loss=min(loss for _, loss in circuit.loss_curve),
        n_test_pairs=found.n_test_pairs,
        caution=caution(found.n_test_pairs),
        validation=circuit.scores["validation"],
        test=circuit.scores["test"],
        model_test=circuit.model_scores["test"],
        path=str(path),
    )


def _over_seeds(task: str, requirement: str, circuits: Sequence[Circuit]) -> OverSeeds:
    met = [c for c in circuits if c.target_met]

    def spread(sizes: Sequence[int]) -> Spread | None:
        return Spread(float(median(sizes)), min(sizes), max(sizes)) if sizes else None

    return OverSeeds(
        task=task,
        requirement=requirement,
        n_seeds=len(circuits),
        n_target_met=len(met),
        n_solved=sum(standing(c).solved for c in circuits),
        n_nodes=spread([c.n_nodes for c in met]),
        n_edges=spread([c.n_edges for c in met]),
        n_minimal_edges=spread([c.n_minimal_edges for c in met if c.n_minimal_edges is not None]),
        n_edges_unswept=spread([c.unswept[1] for c in met if c.unswept is not None]),
        node_overlap=node_overlap([c.nodes for c in met]),
    )
