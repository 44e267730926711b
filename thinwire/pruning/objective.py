"""The task loss of a gated model: the one thing that gates, bisection and sweep ask for.

Two ways of computing it behind one protocol: `FastObjective` on the CPU (circuits.fast), `PlainObjective` through
`GPT.forward` and hooks on any device, several gate vectors in one batch. Both give the same loss (a test holds them
together); which one is used depends on the device alone.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

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
from thinwire.model.hooks import Hook, compose
from thinwire.pruning.fast import FastModel, Trace, pick_scales
from thinwire.pruning.forest import Forest

N_PARTS = 4
"""Parts in which a split's loss is summed, so that a hopeless circuit is given up early."""


class Objective(Protocol):
    """Task loss on one split under gates: one vector over all nodes, site after site in the order of the forward."""

    n_pairs: int
    device: torch.device
    """Where its gates lie."""

    def gradients(
        self, gates: Float[Tensor, "S nodes"], rows: Sequence[Int[Tensor, " n"]]
    ) -> tuple[Float[Tensor, " S"], Float[Tensor, "S nodes"]]:
        """(loss, its gradient) for each gate vector on the pairs of its own `rows`."""
        ...

    def loss(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = (), limit: float = float("inf")) -> float:
        """Loss over all pairs, without the `removed` edges. Once it is sure to pass `limit`, infinity will do."""
        ...

    def logits(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = ()) -> Float[Tensor, "P V"]:
        """Logits over the whole vocabulary at the end of every prompt."""
        ...

    def effects(self, gates: Float[Tensor, " nodes"]) -> tuple[Float[Tensor, " nodes"], dict[str, Tensor]]:
        """First-order rise of the loss if each node, or each weight of each matrix, were removed by itself."""
        ...


def objective(model: GPT, prompts: Prompts, means: Means, whole_scales: bool = False) -> Objective:
    """The fast way on the CPU, the plain one elsewhere. `whole_scales` freezes RMSNorms to the whole model's scales."""
    kind = FastObjective if prompts.tokens.device.type == "cpu" else PlainObjective
    return kind(model, prompts, means, whole_scales)


class FastObjective:
    """`Objective` by prefix forest, compaction and sparse kernels."""

    def __init__(self, model: GPT, prompts: Prompts, means: Means, whole_scales: bool = False) -> None:
        self.model = FastModel(model, means)
        self.forest = self.model.forest(prompts)
        self.scales = self.model.scales(self.forest) if whole_scales else None
        self.n_pairs, self.device = prompts.n_pairs, torch.device("cpu")
        self.parts = [self._pick(rows) for rows in np.array_split(np.arange(self.n_pairs), min(N_PARTS, self.n_pairs))]

    def _pick(self, rows: np.ndarray) -> tuple[Forest, dict[str, np.ndarray] | None]:
        picked = self.forest.pairs(rows)
        n_layer = self.model.config.n_layer
        return picked, None if self.scales is None else pick_scales(self.scales, picked, n_layer)

    def by_site(self, gates: Tensor) -> dict[str, Tensor]:
        return self.model.space.by_site(gates)

    def gradients(
        self, gates: Float[Tensor, "S nodes"], rows: Sequence[Int[Tensor, " n"]]
    ) -> tuple[Float[Tensor, " S"], Float[Tensor, "S nodes"]]:
        losses, gradients = [], []
        for vector, chosen in zip(gates.detach(), rows, strict=True):
            vector = vector.clone().requires_grad_()
            picked, scales = self._pick(chosen.numpy())
            difference = self.model.difference(picked, self.by_site(vector), scales=scales)
            loss = task_loss(difference, torch.from_numpy(picked.sign))
            gradients.append(torch.autograd.grad(loss, vector)[0])
            losses.append(loss.detach())
        return torch.stack(losses), torch.stack(gradients)

    @torch.no_grad()
    def loss(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = (), limit: float = float("inf")) -> float:
        by_site = self.by_site(gates)
        thinned = self.model.without(removed)
        total = 0.0
        for part, scales in self.parts:
            difference = self.model.difference(part, by_site, thinned, scales)
            total += float(task_loss(difference, torch.from_numpy(part.sign))) * part.n_pairs / self.n_pairs
            if total > limit and part is not self.parts[-1][0]:
                return float("inf")
        return total

    @torch.no_grad()
    def logits(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = ()) -> Float[Tensor, "P V"]:
        thinned = self.model.without(removed)
        return self.model.logits(self.forest, self.by_site(gates), thinned, self.scales)

    def effects(self, gates: Float[Tensor, " nodes"]) -> tuple[Float[Tensor, " nodes"], dict[str, Tensor]]:
        nodes = torch.zeros_like(gates)
        edges = {name: torch.zeros(matrix.weight.shape) for name, matrix in self.model.matrices.items()}
        for part, scales in self.parts:
            vector = gates.detach().clone().requires_grad_()
            trace = Trace()
            difference = self.model.difference(part, self.by_site(vector), scales=scales, trace=trace)
            loss = task_loss(difference, torch.from_numpy(part.sign)) * (part.n_pairs / self.n_pairs)
            products = {name: pair for name, pair in trace.products.items() if pair[1].requires_grad}
            outputs = [out for _, out in products.values()]
            gradients = torch.autograd.grad(loss, [vector, *outputs], allow_unused=True)
            nodes -= gradients[0]
            for (name, (x, _)), d_out in zip(products.items(), gradients[1:], strict=True):
                if d_out is not None:
                    moved = x.detach() - self.model.means[self.model.ends[name][0]]
                    edges[name] -= torch.from_numpy(self.model.matrices[name].weight) * (d_out.T @ moved)
        return nodes, edges


class PlainObjective:
    """`Objective` by `GPT.forward` with hooks; S gate vectors share one batch of S x prompts rows."""

    def __init__(self, model: GPT, prompts: Prompts, means: Means, whole_scales: bool = False) -> None:
        self.model, self.prompts, self.means = model, prompts, means
        self.whole_scales = whole_scales
        self.n_pairs, self.device = prompts.n_pairs, prompts.tokens.device

    def _hook(self, gates: Float[Tensor, "S nodes"], prompts: Prompts) -> Hook:
        """Row r of the batch is gated by vector r // (rows / S)."""
        each = len(prompts.lengths) // len(gates)
        by_site = self.model.space.by_site(gates)

        def hook(site: str, x: Tensor) -> Tensor:
            if site not in by_site:
                return x
            gate = by_site[site].repeat_interleave(each, dim=0)[(slice(None), *[None] * (x.ndim - 2))]
            return torch.addcmul((1 - gate) * self.means[site], x, gate)

        if not self.whole_scales:
            return hook
        return compose(hook, freeze_scales(record_scales(self.model, prompts)))

    def gradients(
        self, gates: Float[Tensor, "S nodes"], rows: Sequence[Int[Tensor, " n"]]
    ) -> tuple[Float[Tensor, " S"], Float[Tensor, "S nodes"]]:
        gates = gates.detach().clone().requires_grad_()
        batch = Prompts.joined([self.prompts.pairs(chosen.to(self.prompts.tokens.device)) for chosen in rows])
        difference = logit_difference(self.model, batch, self._hook(gates, batch))
        losses = torch.nn.functional.softplus(-batch.sign * difference).view(len(gates), -1).mean(1)
        return losses.detach(), torch.autograd.grad(losses.sum(), gates)[0]

    @torch.no_grad()
    def loss(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = (), limit: float = float("inf")) -> float:
        masks = remove_edges(self.model, removed, self.means)
        difference = logit_difference(self.model, self.prompts, self._hook(gates[None], self.prompts), masks)
        return float(task_loss(difference, self.prompts.sign))

    @torch.no_grad()
    def logits(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = ()) -> Float[Tensor, "P V"]:
        masks = remove_edges(self.model, removed, self.means)
        return last_logits(self.model, self.prompts, self._hook(gates[None], self.prompts), masks)

    def effects(self, gates: Float[Tensor, " nodes"]) -> tuple[Float[Tensor, " nodes"], dict[str, Tensor]]:
        names = self.model.space.matrices
        tied = {n: p.clone().requires_grad_() for n, p in self.model.named_parameters() if n in names or _is_bias(n)}
        vector = gates.detach().clone().requires_grad_()
        hook = self._hook(vector[None], self.prompts)
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
