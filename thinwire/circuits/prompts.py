"""A split of a task's pairs as one batch of prompts, and the task loss on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from thinwire.model.gpt import GPT, Entry
from thinwire.model.hooks import Edges, Hook, identity
from thinwire.tasks.tokens import TaskTokens


@dataclass(frozen=True)
class Prompts:
    """2 N prompts: all clean sides, then all corrupt sides, in the order of the pairs."""

    tokens: Int[Tensor, "P T"]
    lengths: Int[Tensor, " P"]
    sign: Float[Tensor, " P"]
    """+1 where `answer` is right (clean), -1 where `other` is."""
    answer: int
    other: int

    @classmethod
    def of(cls, pairs: TaskTokens, device: torch.device | str = "cpu") -> "Prompts":
        """Prompts of all pairs, padding cut to the longest prompt."""
        lengths = torch.cat([torch.as_tensor(pairs.clean_length), torch.as_tensor(pairs.corrupt_length)])
        tokens = torch.cat([torch.as_tensor(pairs.clean), torch.as_tensor(pairs.corrupt)])[:, : int(lengths.max())]
        sign = torch.ones(len(lengths))
        sign[len(lengths) // 2 :] = -1
        return cls(tokens.to(device), lengths.to(device), sign.to(device), pairs.answer, pairs.other)

    @classmethod
    def joined(cls, parts: "Sequence[Prompts]") -> "Prompts":
        """Prompts of the same task in one batch, part after part."""
        width = max(part.tokens.shape[1] for part in parts)
        return cls(
            torch.cat([F.pad(part.tokens, (0, width - part.tokens.shape[1])) for part in parts]),
            torch.cat([part.lengths for part in parts]),
            torch.cat([part.sign for part in parts]),
            parts[0].answer,
            parts[0].other,
        )

    @property
    def n_pairs(self) -> int:
        return len(self.lengths) // 2

    @cached_property
    def inside(self) -> Bool[Tensor, "P T"]:
        """True at tokens of the prompts, False at padding."""
        return torch.arange(self.tokens.shape[1], device=self.lengths.device) < self.lengths[:, None]

    def pairs(self, rows: Int[Tensor, " n"]) -> "Prompts":
        """The pairs of the given numbers, both sides of each."""
        both = torch.cat([rows, rows + self.n_pairs])
        lengths = self.lengths[both]
        tokens = self.tokens[both, : int(lengths.max())]
        return Prompts(tokens, lengths, self.sign[both], self.answer, self.other)

    def repeated(self, times: int) -> "Prompts":
        """The prompts `times` over."""
        tokens = self.tokens.repeat(times, 1)
        return Prompts(tokens, self.lengths.repeat(times), self.sign.repeat(times), self.answer, self.other)


def logit_difference(
    model: GPT, prompts: Prompts, hook: Hook = identity, edges: Edges | None = None, start: Entry | None = None
) -> Float[Tensor, " P"]:
    """logit(answer) - logit(other) at the last token of every prompt; no other logit is computed.

    `start` is as in `GPT.residual`.
    """
    rows = torch.arange(len(prompts.lengths), device=prompts.lengths.device)
    last = prompts.lengths - 1
    x = model.residual(prompts.tokens, hook, edges or {}, start)[rows, last]
    x = model.hook_final(model.norm(x, hook), hook)
    difference = x @ (model.unembed.weight[prompts.answer] - model.unembed.weight[prompts.other])
    if model.bigram is not None:
        table = model.bigram[prompts.tokens[rows, last]]
        difference = difference + table[:, prompts.answer] - table[:, prompts.other]
    return difference


def task_loss(difference: Float[Tensor, " P"], sign: Float[Tensor, " P"]) -> Float[Tensor, ""]:
    """Cross-entropy between the two answer tokens, nats, mean over both sides of all pairs."""
    return F.softplus(-sign * difference).mean()


def task_accuracy(difference: Float[Tensor, " P"], sign: Float[Tensor, " P"]) -> float:
    """Share of prompts whose right answer has the larger logit; a tie counts half."""
    return float((sign * difference).sign().add(1).div(2).mean())
