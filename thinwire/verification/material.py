"""What a circuit is judged on: prompts of its task and of others, text, and the means to prune again."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Int
from torch import Tensor

from thinwire.circuits.prompts import Prompts
from thinwire.verification.finding import NotRun
from thinwire.verification.pruner import Pruner, SplitPairs
from thinwire.verification.variants import sample_pairs

PAIRS_SEED = 0
"""Which pairs a budget takes does not depend on the seed, so that two seeds differ in what is drawn besides."""


@dataclass(frozen=True)
class TaskMaterial:
    """All that tests may draw from; a test that needs what is not there is not run."""

    test: Prompts
    search: Prompts
    """Other pairs of the task, on which steps are fitted and the adversarial subset is searched."""
    others: Mapping[str, Prompts] = field(default_factory=dict)
    """Other tasks."""
    shifted: Mapping[str, Prompts] = field(default_factory=dict)
    """Kind of shift -> prompts unlike the task's."""
    unmeasured_shifts: Mapping[str, str] = field(default_factory=dict)
    """Kind of shift -> why there are no prompts of it."""
    windows: Int[Tensor, "N window"] | None = None
    """Held-out text."""
    pairs: SplitPairs | None = None
    """All splits, where the task is pruned again."""
    pruner: Pruner | None = None

    def test_pairs(self, n: int) -> Prompts:
        """`n` test pairs, always the same, or all if there are no more."""
        return sample_pairs(self.test, n, PAIRS_SEED)

    def search_pairs(self, n: int) -> Prompts:
        """`n` of the other pairs."""
        return sample_pairs(self.search, n, PAIRS_SEED)

    def pruning(self, wanted: bool) -> tuple[Pruner, SplitPairs]:
        """The pruning and all splits. Raises `NotRun` when there are none, or the budget has none."""
        if not wanted:
            raise NotRun("the fast budget does not prune again; use --budget full")
        if self.pruner is None or self.pairs is None:
            raise NotRun("pruning again needs train, validation and test pairs, and the circuit has no such files")
        return self.pruner, self.pairs
