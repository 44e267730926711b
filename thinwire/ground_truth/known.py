"""KnownModel: a frozen GPT built by hand, its task, and the circuit that it was built around."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from jaxtyping import Int
from torch import Tensor

from thinwire.circuits.ablation import node_means
from thinwire.ground_truth.parts import Parts
from thinwire.ground_truth.sizes import SizeName
from thinwire.model.checkpoint import fingerprint
from thinwire.model.gpt import GPT
from thinwire.tasks.task import Split
from thinwire.tasks.tokens import TaskTokens


@dataclass(frozen=True, eq=False)
class KnownModel:
    """One member of a family (docs/ground_truth.md)."""

    family: str
    size: SizeName
    seed: int
    """Seed of the places, decoys, prompts and text."""
    model: GPT
    pairs: Mapping[Split, TaskTokens]
    """Disjoint splits of minimal pairs, both sides equally long."""
    shifted: Mapping[str, TaskTokens]
    """Kind of shift -> pairs unlike those of the splits."""
    windows: Int[Tensor, "N window"]
    """Random text in which every token is equally likely."""
    truth: Parts
    """What the whole model uses: all that `docs/ground_truth.md` counts as the true circuit."""
    sufficient: tuple[Parts, ...]
    """Every minimal set that does the task with all else at its mean: the truth alone, where nothing is redundant and
    nothing false would do."""
    others: Mapping[str, TaskTokens] = field(default_factory=dict)
    """Other tasks that the same model does, test pairs."""
    lookalikes: Mapping[str, Parts] = field(default_factory=dict)
    """Wrong circuits that belong to the family: what they are -> nodes and wires."""

    @cached_property
    def means(self) -> dict[str, Tensor]:
        """Mean activation of every node over `windows`."""
        return node_means(self.model, self.windows)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.model)

    @property
    def name(self) -> str:
        return f"{self.family}, {self.size}, seed {self.seed}"

    @property
    def n_nodes(self) -> int:
        return self.model.space.n_nodes

    def nodes(self, parts: Parts) -> dict[str, list[int]]:
        """Site -> channels of `parts`."""
        return parts.by_site(self.model.space)
