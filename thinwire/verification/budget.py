"""How much is measured: counts of samples, so that the same seed gives the same result on any machine."""

from dataclasses import dataclass, fields
from typing import Literal

from thinwire.ranges import check

BudgetName = Literal["fast", "full"]


@dataclass(frozen=True)
class Budget:
    """Counts per circuit. What a circuit has less of is used whole."""

    random_sets: int
    """Null sets of nodes, and of edges, in necessity; the smallest p-value is 1 / (1 + random_sets)."""
    null_pairs: int
    """Test pairs on which removals are held against random ones, and single nodes and edges are removed."""
    pairs: int
    """Test pairs of interchange, stochastic ablation, the adversary, selectivity and sufficiency's harsher worlds;
    sufficiency itself and necessity's removals take them all."""
    survey_pairs: int
    """Test pairs of donors, completeness, minimality, simplicity and reconstruction."""
    search_pairs: int
    """Validation pairs on which steps are fitted and adversarial subsets are searched."""
    nodes: int
    """Nodes that are removed, patched or binarised one at a time, drawn at random beyond."""
    edges: int
    """Edges that are removed one at a time, or whose two ends are patched."""
    draws: int
    """Random subsets per share, in stochastic ablation, donors and completeness."""
    restarts: int
    """Starts of the adversarial search."""
    adversary_steps: int
    """Gradient steps of each."""
    other_pairs: int
    """Pairs of each other task, in selectivity."""
    text_windows: int
    """Windows of held-out text."""
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

    def __post_init__(self) -> None:
        check(self, **{field.name: "[0, 1e6]" for field in fields(self) if field.type is int})


BUDGETS: dict[BudgetName, Budget] = {
    "fast": Budget(
        random_sets=100,
        null_pairs=16,
        pairs=64,
        survey_pairs=32,
        search_pairs=16,
        nodes=40,
        edges=10,
        draws=3,
        restarts=2,
        adversary_steps=10,
        other_pairs=16,
        text_windows=16,
        shifted_pairs=64,
        all_tasks=False,
        controls=False,
        seeds=0,
        rounds=0,
    ),
    "full": Budget(
        random_sets=200,
        null_pairs=64,
        pairs=64,
        survey_pairs=64,
        search_pairs=64,
        nodes=200,
        edges=200,
        draws=10,
        restarts=5,
        adversary_steps=50,
        other_pairs=64,
        text_windows=256,
        shifted_pairs=128,
        all_tasks=True,
        controls=True,
        seeds=20,
        rounds=3,
    ),
}
