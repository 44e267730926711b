"""Comparing a sparse model with its dense twin: which twin, which circuit, which means.

Source: Gao et al. 2025, section 3.2: circuits are compared at matched pretraining loss, by the geometric mean
of their number of edges over tasks.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from thinwire.circuits.graph import Circuit

TWIN_RULE = (
    "Dense twins have the sparse model's class, depth, data and training constants, density 1 and no AbsTopK; their "
    "width differs, and perhaps the length of training. In order of compute the candidates are {candidates}. {first} "
    "are trained first, then further ones in the direction of the sparse model's held-out loss, until one is at or "
    "below it and one at or above it. Of all trained, the one whose held-out loss is nearest to the sparse model's is "
    "the twin. No circuit is looked at before this choice."
)

Cell = dict[str, int | float | None]

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
    """Position of the circuit with the fewest edges among those solved, else of the lowest validation loss.

    Solved is decided on validation pairs; test scores play no part. Fewer nodes, then the earlier one, win ties.
    """
    solved = [i for i, c in enumerate(circuits) if c.status == "solved"]
    if solved:
        return min(solved, key=lambda i: (circuits[i].n_edges, circuits[i].n_nodes))
    return min(range(len(circuits)), key=lambda i: circuits[i].scores["validation"].loss)


def geometric_mean(sizes: Sequence[int]) -> float | None:
    """Geometric mean of circuit sizes, a size of 0 counting as 1; None for no sizes."""
    return math.exp(sum(math.log(max(1, size)) for size in sizes) / len(sizes)) if sizes else None


def cell(circuit: Circuit, verification: Mapping[str, Any] | None) -> Cell:
    """One task in one model, as summary.json holds it.

    Every value is None when the task is not solved, those of necessity also when the circuit was not verified, that of
    minimal edges also when no edges were swept.
    """
    test, necessity = circuit.scores["test"], verification["necessity"] if verification else {}
    values = {
        "n_nodes": circuit.n_nodes,
        "n_edges": circuit.n_edges,
        "n_edges_unswept": circuit.unswept[1] if circuit.unswept else circuit.n_edges,
        "n_minimal_edges": circuit.n_minimal_edges,
        "heldout_loss": test.loss,
        "heldout_accuracy": test.accuracy,
        "necessity_loss": necessity.get("nodes_loss"),
        "random_loss": necessity.get("random_mean"),
    }
    return values if circuit.status == "solved" else dict.fromkeys(values)


def _edges(cells: Mapping[str, Cell], kind: str, counted: str = "n_edges") -> int | float | None:
    return cells[kind][counted] if kind in cells else None


def _mean(cells: Sequence[Mapping[str, Cell]], kind: str, counted: str) -> float | None:
    """Geometric mean over tasks; None when there are none, or one lacks this count."""
    sizes = [_edges(task, kind, counted) for task in cells]
    return None if None in sizes else geometric_mean([int(size or 0) for size in sizes])


def summarise(
    heldout_loss: Mapping[str, float], tasks: Mapping[str, Mapping[str, Cell]], seconds: float
) -> dict[str, Any]:
    """The content of summary.json. Means and ratios are over the tasks that all models solve, which it names.

    `sweeps` holds means and ratio for every way of counting in `SWEEPS`; `geomean_edges` and `edge_ratio` repeat those
    of the induced edges after the sweep.
    """
    kinds = list(heldout_loss)
    compared = [name for name, cells in tasks.items() if all(_edges(cells, kind) is not None for kind in kinds)]
    sweeps = {}
    for counted in SWEEPS:
        means = {kind: _mean([tasks[name] for name in compared], kind, counted) for kind in kinds}
        sparse, dense = means.get("sparse"), means.get("dense")
        sweeps[counted] = {**means, "ratio": dense / sparse if sparse and dense else None}
    return {
        "heldout_loss": dict(heldout_loss),
        "tasks": {name: {kind: dict(values) for kind, values in cells.items()} for name, cells in tasks.items()},
        "tasks_compared": compared,
        "geomean_edges": {kind: sweeps["n_edges"][kind] for kind in kinds},
        "edge_ratio": sweeps["n_edges"]["ratio"],
        "sweeps": sweeps,
        "seconds": seconds,
    }
