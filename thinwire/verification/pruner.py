"""The pruning, as verification sees it: a function that the caller passes in.

Controls and seeds have to prune again. They judge what comes back and never import how it was found.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from thinwire.model.gpt import GPT
from thinwire.model.nodes import Nodes
from thinwire.storage.records import Count, Loss
from thinwire.tasks.task import Split
from thinwire.tasks.tokens import TaskTokens


@dataclass(frozen=True)
class Pruned:
    """What a pruning found."""

    nodes: dict[str, list[int]]
    solved: bool
    """Whether it reached its target on validation pairs."""
    loss: Loss
    """Task loss on test pairs, nats."""
    n_edges: Count

    @property
    def n_nodes(self) -> int:
        return sum(len(channels) for channels in self.nodes.values())


SplitPairs = Mapping[Split, TaskTokens]
Pruner = Callable[[GPT, SplitPairs, int, Nodes], Pruned]
"""(model, pairs, seed, forbidden nodes) -> Pruned. It measures the means of the model that it is given; forbidden nodes
stay at their means and never become part of the circuit."""
