"""Comparing a sparse model with its dense twin: which twin, which circuit, which means.

Source: Gao et al. 2025, section 3.2: circuits are compared at matched pretraining loss, by the geometric mean
of their number of edges over tasks; here over those tasks that the whole models do.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from thinwire.circuits.graph import Circuit
from thinwire.circuits.solved import standing

TWIN_RULE = (
    "Dense twins have the sparse model's class, depth, data and training constants, density 1 and no AbsTopK; their "
    "width differs, and perhaps the length of training. In order of compute the candidates are {candidates}. {first} "
    "are trained first, then further ones in the direction of the sparse model's held-out loss, until one is at or "
    "below it and one at or above it. Of all trained, the one whose held-out loss is nearest to the sparse model's is "
    "the twin. No circuit is looked at before this choice."
)

SWEEPS = ("n_edges_unswept", "n_edges", "n_minimal_edges")
"""How a cell counts edges: induced ones before and after the sweep of nodes, and those left by the sweep of edges."""


def nearest_twin(sparse_loss: float, tried: Sequence[tuple[int, float]]) -> int:
    """Position of the (width, held-out loss) nearest in loss; the wider one wins a tie."""
    return min(range(len(tried)), key=lambda i: (abs(tried[i][1] - sparse_loss), -tried[i][0]))


def next_twins(sparse_loss: float, losses: Mapping[int, float], n_candidates: int, first: Sequence[int]) -> list[int]:
    """Positions of the candidates to train next, at most as many as `first` has; none when the loss is bracketed.

    Candidates are ordered by compute, so that losses fall along them; `losses` holds those trained by position.
    """
    if missing := [i for i in first if i not in losses]:
        return missing
    if all(loss > sparse_loss for loss in losses.values()):
        return list(range(max(losses) + 1, n_candidates))[: len(first)]
    if all(loss < sparse_loss for loss in losses.values()):
        return list(range(min(losses) - 1, -1, -1))[: len(first)]
    return []


def smallest(circuits: Sequence[Circuit]) -> int:
    """Position of the circuit with the fewest edges among those that met their target, else of the lowest loss.

    Both on validation pairs; test scores play no part. Fewer nodes, then the earlier one, win ties.
    """
    met = [i for i, c in enumerate(circuits) if c.target_met]
    if met:
        return min(met, key=lambda i: (circuits[i].n_edges, circuits[i].n_nodes))
    return min(range(len(circuits)), key=lambda i: circuits[i].scores["validation"].loss)


def geometric_mean(sizes: Sequence[int]) -> float | None:
    """Geometric mean of circuit sizes, a size of 0 counting as 1; None for no sizes."""
    return math.exp(sum(math.log(max(1, size)) for size in sizes) / len(sizes)) if sizes else None


@dataclass(frozen=True)
class Cell:
    """One task in one model, as summary.json holds it.

    Sizes and losses are None where no circuit met the target, those of necessity also where it was not verified, that
    of minimal edges also where no edges were swept.
    """

    solved: bool
    """The model does the task and so does the circuit, on test pairs (`circuits.solved`)."""
    model_does: bool
    circuit_does: bool
    why_not: tuple[str, ...]
    """What is missing to `solved`."""
    verdict: str | None
    """Of `thinwire verify`; None where the circuit was not verified."""
    n_test_pairs: int | None
    """Pairs behind `heldout_loss` and `heldout_accuracy`."""
    model_loss: float
    model_accuracy: float
    n_nodes: int | None = None
    n_edges: int | None = None
    n_edges_unswept: int | None = None
    n_minimal_edges: int | None = None
    heldout_loss: float | None = None
    """Of the circuit, on test pairs, nats."""
    heldout_accuracy: float | None = None
    necessity_loss: float | None = None
    random_loss: float | None = None

    @property
    def compared(self) -> bool:
        """Whether its size says something of the model: it does the task, and a circuit met the target."""
        return self.model_does and self.n_edges is not None


@dataclass(frozen=True)
class Verified:
    """What a table says of a circuit's verification."""

    verdict: str
    necessity_loss: float
    """Of the whole model without the circuit, nats."""
    random_loss: float | None
    """Mean of the same with random nodes in the circuit's place; None where there are too few."""


def cell(circuit: Circuit, verification: Verified | None) -> Cell:
    """The cell of a circuit and of its verification, where there is one."""
    found, whole, alone = standing(circuit), circuit.model_scores["test"], circuit.scores["test"]
    said = Cell(
        solved=found.solved,
        model_does=found.model_does,
        circuit_does=found.circuit_does,
        why_not=found.why_not,
        verdict=verification.verdict if verification else None,
        n_test_pairs=found.n_test_pairs,
        model_loss=whole.loss,
        model_accuracy=whole.accuracy,
    )
    if not found.target_met:
        return said
    return replace(
        said,
        n_nodes=circuit.n_nodes,
        n_edges=circuit.n_edges,
        n_edges_unswept=circuit.unswept[1] if circuit.unswept else circuit.n_edges,
        n_minimal_edges=circuit.n_minimal_edges,
        heldout_loss=alone.loss,
        heldout_accuracy=alone.accuracy,
        necessity_loss=verification.necessity_loss if verification else None,
        random_loss=verification.random_loss if verification else None,
    )


@dataclass(frozen=True)
class Rung:
    """The sparse model's circuit of one task at one requirement."""

    task: str
    requirement: str
    met: bool
    not_met: tuple[str, ...]
    """Terms whose limit it passes."""
    n_nodes: int
    n_edges: int
    n_minimal_edges: int | None
    test_loss: float
    model_test_loss: float
    verdict: str


@dataclass(frozen=True)
class Summary:
    """What a comparison comes to: summary.json.

    Means and ratios are over `tasks_compared`: tasks that every whole model does and for which each has a circuit that
    met the target. `geomean_edges` and `edge_ratio` repeat those of the induced edges after the sweep.
    """

    heldout_loss: dict[str, float]
    """Model -> nats per token."""
    tasks: dict[str, dict[str, Cell]]
    tasks_compared: list[str]
    tasks_left_out: dict[str, str]
    """Every other task -> why."""
    geomean_edges: dict[str, float | None]
    edge_ratio: float | None
    sweeps: dict[str, dict[str, float | None]]
    """Way of counting, of `SWEEPS` -> model -> mean, and `ratio` -> dense over sparse."""
    seconds: float
    ladder: tuple[Rung, ...] = ()
    """What each requirement costs, the weakest first."""


def _why_left_out(cells: Mapping[str, Cell], kinds: Sequence[str]) -> str:
    """Which models do not do the task, or have no circuit that met the target."""
    reasons = []
    for kind in kinds:
        if kind not in cells:
            reasons.append(f"{kind}: not pruned")
        elif not cells[kind].compared:
            reasons.append(f"{kind}: {cells[kind].why_not[0]}")
    return "; ".join(reasons)


def _mean(cells: Sequence[Mapping[str, Cell]], kind: str, counted: str) -> float | None:
    """Geometric mean over tasks; None when there are none, or one lacks this count."""
    sizes = [getattr(task[kind], counted) for task in cells]
    return None if None in sizes else geometric_mean(sizes)


def summarise(heldout_loss: Mapping[str, float], tasks: Mapping[str, Mapping[str, Cell]], seconds: float) -> Summary:
    """The summary of the cells of every task and model."""
    kinds = list(heldout_loss)
    compared = [name for name, cells in tasks.items() if all(kind in cells and cells[kind].compared for kind in kinds)]
    sweeps: dict[str, dict[str, float | None]] = {}
    for counted in SWEEPS:
        means = {kind: _mean([tasks[name] for name in compared], kind, counted) for kind in kinds}
        sparse, dense = means.get("sparse"), means.get("dense")
        sweeps[counted] = {**means, "ratio": dense / sparse if sparse and dense else None}
    return Summary(
        heldout_loss=dict(heldout_loss),
        tasks={name: dict(cells) for name, cells in tasks.items()},
        tasks_compared=compared,
        tasks_left_out={n: _why_left_out(cells, kinds) for n, cells in tasks.items() if n not in compared},
        geomean_edges={kind: sweeps["n_edges"][kind] for kind in kinds},
        edge_ratio=sweeps["n_edges"]["ratio"],
        sweeps=sweeps,
        seconds=seconds,
    )
