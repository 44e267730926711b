"""The circuit says what the model says: over the whole vocabulary, and no other token than the two answers.

Two answer tokens alone hide circuits that put their probability elsewhere (Gao et al. 2025 score the two alone).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.circuits.graph import Demand, Edge
from thinwire.circuits.prompts import Prompts
from thinwire.circuits.score import last_logits
from thinwire.pruning.engine import Engine

LOST = 0.5
"""Share of the KL of nothing kept that a circuit may have."""
ELSEWHERE = 0.5
"""Nats that the two answers may lose to other tokens, beyond what they lose in the whole model."""


class _OverLogits:
    """A loss of all logits under mean ablation; `GPT.forward` computes them, on any device."""

    def __init__(self, engine: Engine, target: float) -> None:
        self.engine, self.model = engine, engine.model

    def _losses(
        self, gates: Tensor, rows: Sequence[Tensor], loss: Callable[[Tensor, Prompts, Tensor], Tensor]
    ) -> Float[Tensor, " S"]:
        plain, losses = self.engine.plain, []
        for vector, chosen in zip(gates, rows, strict=True):
            prompts = plain.prompts.pairs(chosen.to(plain.device))
            with torch.no_grad():
                whole = last_logits(self.model, prompts)
            logits = self.model.last_logits(prompts.tokens, prompts.lengths, plain.gated(vector[None], prompts))
            losses.append(loss(logits, prompts, whole))
        return torch.stack(losses)

    @cached_property
    def whole(self) -> Float[Tensor, "P V"]:
        return self.engine.logits(torch.ones(self.model.space.n_nodes, device=self.engine.device))


class KL(_OverLogits):
    """KL(whole model || circuit) at the last token, nats, mean."""

    name: ClassVar[str] = "kl"

    def losses(
        self, gates: Float[Tensor, "S nodes"], rows: Sequence[Int[Tensor, " n"]], generators: Sequence[torch.Generator]
    ) -> Float[Tensor, " S"]:
        return self._losses(gates, rows, lambda logits, _, whole: divergence(whole, logits))

    @cached_property
    def limit(self) -> float:
        nothing = torch.zeros(self.model.space.n_nodes, device=self.engine.device)
        return LOST * float(divergence(self.whole, self.engine.logits(nothing)))

    @torch.no_grad()
    def measure(
        self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = (), stop: float = float("inf")
    ) -> Demand:
        return Demand(float(divergence(self.whole, self.engine.logits(gates, removed))), self.limit)


class OtherTokens(_OverLogits):
    """-log of the probability of the two answers together, nats, mean, beyond the whole model's."""

    name: ClassVar[str] = "other_tokens"

    def losses(
        self, gates: Float[Tensor, "S nodes"], rows: Sequence[Int[Tensor, " n"]], generators: Sequence[torch.Generator]
    ) -> Float[Tensor, " S"]:
        return self._losses(gates, rows, lambda logits, prompts, _: elsewhere(logits, prompts))

    @torch.no_grad()
    def measure(
        self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = (), stop: float = float("inf")
    ) -> Demand:
        prompts = self.engine.plain.prompts
        lost = elsewhere(self.engine.logits(gates, removed), prompts) - elsewhere(self.whole, prompts)
        return Demand(float(lost), ELSEWHERE)


def divergence(whole: Float[Tensor, "P V"], circuit: Float[Tensor, "P V"]) -> Float[Tensor, ""]:
    """KL(whole || circuit), nats, mean over prompts."""
    return F.kl_div(circuit.log_softmax(-1), whole.log_softmax(-1), reduction="batchmean", log_target=True)


def elsewhere(logits: Float[Tensor, "P V"], prompts: Prompts) -> Float[Tensor, ""]:
    """-log P(answer or other), nats, mean over prompts."""
    return -logits.log_softmax(-1)[:, [prompts.answer, prompts.other]].logsumexp(-1).mean()
