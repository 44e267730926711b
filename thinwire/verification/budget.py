"""How much is measured: counts of samples, so that the same seed gives the same result on any machine."""

from dataclasses import dataclass
from typing import Literal

BudgetName = Literal["fast", "full"]


@dataclass(frozen=True)
class Budget:
    """Counts per circuit. What a circuit has less of is used whole."""

    random_sets: int
    """Null sets of nodes, in necessity; the smallest p-value is 1 / (1 + random_sets)."""
    random_edge_sets: int
    """Null sets of edges."""
    pairs: int
    """Test pairs of necessity, interchange, stochastic ablation and simplicity; sufficiency takes them all."""
    search_pairs: int
    """Validation pairs on which steps are fitted and the adversarial subset is searched."""
    nodes: int
    """Nodes that are removed, patched or binarised one at a time, drawn at random beyond."""
    edges: int
    """Edges that are removed one at a time, or whose two ends are patched."""
    draws: int
    """Random subsets per share, in stochastic ablation."""
    adversarial_steps: int
    """Gradient steps of the adversarial subset."""
    other_pairs: int
    """Pairs of each other task, in selectivity."""
    text_windows: int
    """Windows of held-out text, in selectivity."""
    shifted_pairs: int
    """Pairs of each kind of shift, in robustness."""
    all_tasks: bool
    """Whether selectivity looks at every built-in task, or at those for which the run has circuits."""
    controls: bool
    """Whether to prune where there is nothing to find."""
    seeds: int
    """Further seeds of the pruning."""
    rounds: int
    """Rounds of exhaustion, at most."""


BUDGETS: dict[BudgetName, Budget] = {
    "fast": Budget(
        random_sets=200,
        random_edge_sets=200,
        pairs=16,
        search_pairs=16,
        nodes=40,
        edges=20,
        draws=3,
        adversarial_steps=20,
        other_pairs=16,
        text_windows=16,
        shifted_pairs=16,
        all_tasks=False,
        controls=False,
        seeds=0,
        rounds=0,
    ),
    "full": Budget(
        random_sets=200,
        random_edge_sets=200,
        pairs=64,
        search_pairs=64,
        nodes=200,
        edges=200,
        draws=10,
        adversarial_steps=100,
        other_pairs=64,
        text_windows=256,
        shifted_pairs=128,
        all_tasks=True,
        controls=True,
        seeds=3,
        rounds=3,
    ),
}
