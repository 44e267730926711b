"""Patching: nodes take the activations that they have on other prompts, in the circuit and in the whole model.

The effect of a patch on a prompt is how far the logit difference moves towards the other side's, as a share of the mean
distance between the two sides (1: all the way). Circuit and model are each patched with their own activations and
measured on their own scale, and agree where their effects do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.circuits.patching import record
from thinwire.circuits.prompts import Prompts
from thinwire.model.gpt import GPT
from thinwire.model.nodes import Nodes
from thinwire.storage.records import Correlation, Count, Ratio, Share
from thinwire.verification.finding import NotRun
from thinwire.verification.measures import correlation, normalised_error, percent
from thinwire.verification.variants import replace_in_circuit, replace_in_model

SAME_SIGN = 0.9
CORRELATION = 0.8
ERROR = 0.5
MATTERS = 0.05
"""Nodes with a smaller effect, both in the circuit and in the model, are left out of the agreement."""
SPREAD = 0.05
"""Correlation decides only where the effects' standard deviation reaches this, in the circuit and in the model."""
AGREE = (
    f"over nodes with an effect of at least {percent(MATTERS)}: same sign {percent(SAME_SIGN)}, correlation "
    f"{CORRELATION} (where effects differ), error at most {ERROR}"
)

Donors = Int[Tensor, " P"]
"""For every prompt the row of the prompt that it takes activations from."""


@dataclass(frozen=True)
class Patched:
    """Logit differences before and after patches, one variant a row."""

    prompts: Prompts
    before: Float[Tensor, " P"]
    after: Float[Tensor, "V P"]

    def effects(self) -> Float[Tensor, "V P"]:
        """Shift of every prompt's difference towards the other side's; 0 where the sides do not differ."""
        n = self.prompts.n_pairs
        way = float((self.before[:n] - self.before[n:]).mean())
        return (self.before - self.after) * self.prompts.sign / way if way else torch.zeros_like(self.after)


@torch.no_grad()
def patch_circuit(alone: IsolatedCircuit, variants: Sequence[Nodes], donors: Donors) -> Patched:
    """Each variant's nodes patched inside the circuit."""
    seen, before = record(alone.model, alone.prompts, alone.hook, alone.edges)
    return Patched(alone.prompts, before, replace_in_circuit(alone, variants, _taken(seen, donors)))


@torch.no_grad()
def patch_model(model: GPT, prompts: Prompts, variants: Sequence[Nodes], donors: Donors) -> Patched:
    """Each variant's nodes patched in the whole model."""
    seen, before = record(model, prompts)
    return Patched(prompts, before, replace_in_model(model, prompts, variants, _taken(seen, donors)))


def _taken(seen: Mapping[str, Tensor], donors: Donors) -> dict[str, Tensor]:
    return {site: x[donors] for site, x in seen.items()}


def other_sides(prompts: Prompts) -> Donors:
    """Every prompt takes from the other side of its own pair."""
    return torch.arange(len(prompts.lengths), device=prompts.lengths.device).roll(prompts.n_pairs)


def require_aligned(prompts: Prompts, task: str) -> None:
    """Raises `NotRun` naming task and pairs when two sides differ in length: positions would not correspond."""
    clean, corrupt = prompts.lengths.unflatten(0, (2, -1))
    if wrong := (clean != corrupt).nonzero().flatten().tolist():
        first = ", ".join(f"pair {row + 1} ({int(clean[row])} and {int(corrupt[row])} tokens)" for row in wrong[:3])
        raise NotRun(
            f"interchange interventions need pairs whose sides have equally many tokens; of task {task} {len(wrong)} "
            f"of {prompts.n_pairs} have not: {first}; make both prompts of each pair equally long"
        )


@dataclass(frozen=True)
class Agreement:
    """How alike two lists of effects are, over those that matter in one of the two."""

    n_matter: Count
    same_sign: Share | None
    """Share of those that matter; None when none does."""
    correlation: Correlation | None
    """None where the effects hardly differ, or are fewer than three."""
    error: Ratio | None
    """Sum of |circuit - model| over sum of |model|; None without effects in the model."""

    @classmethod
    def of(cls, circuit: Sequence[float], model: Sequence[float]) -> "Agreement":
        matter = [(c, m) for c, m in zip(circuit, model, strict=True) if max(abs(c), abs(m)) >= MATTERS]
        if not matter:
            return cls(0, None, None, None)
        ours, theirs = [c for c, _ in matter], [m for _, m in matter]
        linear = correlation(torch.tensor(ours), torch.tensor(theirs), SPREAD)
        signs = sum(c * m > 0 for c, m in matter) / len(matter)
        return cls(len(matter), signs, linear, normalised_error(ours, theirs))

    @property
    def holds(self) -> bool:
        """Whether it reaches every threshold of `AGREE`; no effect anywhere is no agreement."""
        if self.same_sign is None or self.error is None:
            return False
        linear = self.correlation is None or self.correlation >= CORRELATION
        return self.same_sign >= SAME_SIGN and linear and self.error <= ERROR

    def words(self) -> str:
        """Its numbers, for a sentence."""
        if self.same_sign is None:
            return "none of them moves the answer"
        words = [f"same sign for {percent(self.same_sign)}"]
        if self.correlation is not None:
            words.append(f"correlation {self.correlation:.2f}")
        words.append("no effect in the model to compare with" if self.error is None else f"error {self.error:.2f}")
        return ", ".join(words)
