"""A frozen model under gates, on one split of a task's pairs: what every term of an objective computes with.

Two ways of computing it behind one protocol: `FastEngine` on the CPU (pruning.fast), `PlainEngine` through
`GPT.forward` and hooks on any device, several gate vectors in one batch. Both give the same numbers (a test holds them
together); which one is used depends on the device alone. What the fast way does not serve (gradients of logits over the
whole vocabulary) goes through `plain` on either.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinwire.circuits.ablation import Means, remove_edges
from thinwire.circuits.graph import Edge
from thinwire.circuits.prompts import Prompts, logit_difference, task_loss
from thinwire.circuits.scales import freeze_scales, record_scales
from thinwire.circuits.score import last_logits
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Edges, Hook, compose, identity
from thinwire.pruning.fast import FastModel, Trace, pick_scales
from thinwire.pruning.patching import FastPatching, Patching, PlainPatching, gated
from thinwire.pruning.prefix_tree import PrefixTree

N_PARTS = 4
"""Parts in which a split's loss is summed, so that a hopeless circuit is given up early."""


@runtime_checkable
class Engine(Protocol):
    """Logit differences under gates: one vector over all nodes, 1 for open ones. Shut nodes are at their means."""

    model: GPT
    n_pairs: int
    device: torch.device
    """Where its gates lie."""

    @property
    def plain(self) -> "PlainEngine":
        """The same split by `GPT.forward`."""
        ...

    def differences(
        self, gates: Float[Tensor, "S nodes"], rows: Sequence[Int[Tensor, " n"]]
    ) -> list[tuple[Float[Tensor, " P"], Float[Tensor, " P"]]]:
        """(logit difference, sign) of the pairs of `rows` for each gate vector, differentiable in the gates."""
        ...

    def loss(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = (), limit: float = float("inf")) -> float:
        """Task loss over all pairs, without the `removed` edges. Once it is sure to pass `limit`, infinity will do."""
        ...

    def loss_of(self, gates: Float[Tensor, " nodes"], rows: np.ndarray, removed: Iterable[Edge] = ()) -> float:
        """Task loss over the pairs of `rows`."""
        ...

    def logits(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = ()) -> Float[Tensor, "P V"]:
        """Logits over the whole vocabulary at the end of every prompt."""
        ...

    def effects(self, gates: Float[Tensor, " nodes"]) -> tuple[Float[Tensor, " nodes"], dict[str, Tensor]]:
        """First-order rise of the task loss if each node, or each weight of each matrix, were removed by itself."""
        ...

    def patching(self, rows: Int[Tensor, " n"]) -> Patching:
        """The pairs of `rows`, whose two sides have equally many tokens, for patching."""
        ...


def engine(model: GPT, prompts: Prompts, means: Means, whole_scales: bool = False) -> Engine:
    """The fast way on the CPU, the plain one elsewhere. `whole_scales` freezes RMSNorms to the whole model's scales."""
    kind = FastEngine if prompts.tokens.device.type == "cpu" else PlainEngine
    return kind(model, prompts, means, whole_scales)


class FastEngine:
    """`Engine` by a tree of prefixes, compaction and sparse kernels."""

    def __init__(self, model: GPT, prompts: Prompts, means: Means, whole_scales: bool = False) -> None:
        self.model, self.prompts, self.means, self.whole_scales = model, prompts, means, whole_scales
        self.plain = PlainEngine(model, prompts, means, whole_scales)
        self.fast = FastModel(model, means)
        self.tree = self.fast.tree(prompts)
        self.scales = self.fast.scales(self.tree) if whole_scales else None
        self.n_pairs, self.device = prompts.n_pairs, torch.device("cpu")
        self.parts = [self._pick(rows) for rows in np.array_split(np.arange(self.n_pairs), min(N_PARTS, self.n_pairs))]

    def _pick(self, rows: np.ndarray) -> tuple[PrefixTree, dict[str, np.ndarray] | None]:
        picked = self.tree.pairs(rows)
        n_layer = self.fast.config.n_layer
        return picked, None if self.scales is None else pick_scales(self.scales, picked, n_layer)

    @cached_property
    def _by_sides(self) -> tuple[PrefixTree, dict[str, np.ndarray] | None]:
        tree = self.fast.tree(self.prompts, by_sides=True)
        return tree, self.fast.scales(tree) if self.whole_scales else None

    def patching(self, rows: Int[Tensor, " n"]) -> Patching:
        tree, scales = self._by_sides
        picked = tree.pairs(rows.numpy())
        n_layer = self.fast.config.n_layer
        return FastPatching(self.fast, picked, None if scales is None else pick_scales(scales, picked, n_layer))

    def by_site(self, gates: Tensor) -> dict[str, Tensor]:
        return self.fast.space.by_site(gates)

    def differences(
        self, gates: Float[Tensor, "S nodes"], rows: Sequence[Int[Tensor, " n"]]
    ) -> list[tuple[Float[Tensor, " P"], Float[Tensor, " P"]]]:
        found = []
        for vector, chosen in zip(gates, rows, strict=True):
            picked, scales = self._pick(chosen.numpy())
            difference = self.fast.difference(picked, self.by_site(vector), scales=scales)
            found.append((difference, torch.from_numpy(picked.sign)))
        return found

    @torch.no_grad()
    def loss(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = (), limit: float = float("inf")) -> float:
        by_site = self.by_site(gates)
        thinned = self.fast.without(removed)
        total = 0.0
        for part, scales in self.parts:
            difference = self.fast.difference(part, by_site, thinned, scales)
            total += float(task_loss(difference, torch.from_numpy(part.sign))) * part.n_pairs / self.n_pairs
            if total > limit and part is not self.parts[-1][0]:
                return float("inf")
        return total

    @torch.no_grad()
    def loss_of(self, gates: Float[Tensor, " nodes"], rows: np.ndarray, removed: Iterable[Edge] = ()) -> float:
        picked, scales = self._pick(rows)
        difference = self.fast.difference(picked, self.by_site(gates), self.fast.without(removed), scales)
        return float(task_loss(difference, torch.from_numpy(picked.sign)))

    @torch.no_grad()
    def logits(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = ()) -> Float[Tensor, "P V"]:
        thinned = self.fast.without(removed)
        return self.fast.logits(self.tree, self.by_site(gates), thinned, self.scales)

    def effects(self, gates: Float[Tensor, " nodes"]) -> tuple[Float[Tensor, " nodes"], dict[str, Tensor]]:
        nodes = torch.zeros_like(gates)
        edges = {name: torch.zeros(matrix.weight.shape) for name, matrix in self.fast.matrices.items()}
        for part, scales in self.parts:
            vector = gates.detach().clone().requires_grad_()
            trace = Trace()
            difference = self.fast.difference(part, self.by_site(vector), scales=scales, trace=trace)
            loss = task_loss(difference, torch.from_numpy(part.sign)) * (part.n_pairs / self.n_pairs)
            products = {name: pair for name, pair in trace.products.items() if pair[1].requires_grad}
            outputs = [out for _, out in products.values()]
            gradients = torch.autograd.grad(loss, [vector, *outputs], allow_unused=True)
            nodes -= gradients[0]
            for (name, (x, _)), d_out in zip(products.items(), gradients[1:], strict=True):
                if d_out is not None:
                    moved = x.detach() - self.fast.means[self.fast.ends[name][0]]
                    edges[name] -= torch.from_numpy(self.fast.matrices[name].weight) * (d_out.T @ moved)
        return nodes, edges


class PlainEngine:
    """`Engine` by `GPT.forward` with hooks; S gate vectors share one batch of S x prompts rows."""

    def __init__(self, model: GPT, prompts: Prompts, means: Means, whole_scales: bool = False) -> None:
        self.model, self.prompts, self.means = model, prompts, means
        self.whole_scales = whole_scales
        self.n_pairs, self.device = prompts.n_pairs, prompts.tokens.device

    @property
    def plain(self) -> "PlainEngine":
        return self

    def gated(self, gates: Float[Tensor, "S nodes"], prompts: Prompts) -> Hook:
        """`patching.gated`, on prompts whose rows are gated by vector r // (rows / S)."""
        return compose(gated(self.model.space, gates, self.means), self.scales(prompts))

    def scales(self, prompts: Prompts) -> Hook:
        """The whole model's RMSNorm scales, where these are frozen; else nothing."""
        return freeze_scales(record_scales(self.model, prompts)) if self.whole_scales else identity

    def without(self, removed: Iterable[Edge]) -> Edges:
        """The `removed` edges, each carrying its source's mean."""
        return remove_edges(self.model, removed, self.means)

    def patching(self, rows: Int[Tensor, " n"]) -> Patching:
        return PlainPatching(self.model, self.prompts.pairs(rows), self.means, self.whole_scales)

    def differences(
        self, gates: Float[Tensor, "S nodes"], rows: Sequence[Int[Tensor, " n"]]
    ) -> list[tuple[Float[Tensor, " P"], Float[Tensor, " P"]]]:
        batch = Prompts.joined([self.prompts.pairs(chosen.to(self.prompts.tokens.device)) for chosen in rows])
        difference = logit_difference(self.model, batch, self.gated(gates, batch))
        shaped = (difference.view(len(gates), -1), batch.sign.view(len(gates), -1))
        return list(zip(*shaped, strict=True))

    @torch.no_grad()
    def loss(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = (), limit: float = float("inf")) -> float:
        hook = self.gated(gates[None], self.prompts)
        return float(
            task_loss(logit_difference(self.model, self.prompts, hook, self.without(removed)), self.prompts.sign)
        )

    @torch.no_grad()
    def loss_of(self, gates: Float[Tensor, " nodes"], rows: np.ndarray, removed: Iterable[Edge] = ()) -> float:
        prompts = self.prompts.pairs(torch.from_numpy(rows).to(self.device))
        difference = logit_difference(self.model, prompts, self.gated(gates[None], prompts), self.without(removed))
        return float(task_loss(difference, prompts.sign))

    @torch.no_grad()
    def logits(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = ()) -> Float[Tensor, "P V"]:
        return last_logits(self.model, self.prompts, self.gated(gates[None], self.prompts), self.without(removed))

    def effects(self, gates: Float[Tensor, " nodes"]) -> tuple[Float[Tensor, " nodes"], dict[str, Tensor]]:
        names = self.model.space.matrices
        tied = {n: p.clone().requires_grad_() for n, p in self.model.named_parameters() if n in names or _is_bias(n)}
        vector = gates.detach().clone().requires_grad_()
        hook = self.gated(vector[None], self.prompts)
        rows = torch.arange(len(self.prompts.lengths), device=self.prompts.lengths.device)
        logits = torch.func.functional_call(self.model, tied, (self.prompts.tokens, hook))
        logits = logits[rows, self.prompts.lengths - 1]
        loss = task_loss(logits[:, self.prompts.answer] - logits[:, self.prompts.other], self.prompts.sign)
        values = torch.autograd.grad(loss, [vector, *tied.values()], allow_unused=True, materialize_grads=True)
        found = dict(zip(tied, values[1:], strict=True))
        edges = {}
        for name, (source, _) in names.items():
            at_mean = found[name.removesuffix("weight") + "bias"][:, None] * self.means[source]
            edges[name] = -tied[name].detach() * (found[name] - at_mean)
        return -values[0], edges


def _is_bias(name: str) -> bool:
    return name.endswith(".bias")
