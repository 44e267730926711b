"""Nodes do in the circuit what they do in the model: patched from the other side, the answer moves equally far.

The effect of a set S of nodes is (difference before - after S is patched from the pair's other side) x sign / way, once
in the circuit with its own activations and once in the whole model. Source: interchange interventions, Geiger et al.
2021; against pruned circuits, Drori 2026.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from hashlib import sha256
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from thinwire.circuits.graph import Demand, Edge
from thinwire.circuits.patching import other_side, record
from thinwire.circuits.prompts import logit_difference
from thinwire.pruning.engine import Engine
from thinwire.pruning.terms.sides import Sides

SHARES = (0.02, 0.04, 0.1, 0.5)
"""Shares of the open nodes that are patched together."""
SINGLES = 12
"""Open nodes that are patched one at a time: so many with the largest first-order effect in the whole model, and so
many in the circuit. Where the model has a backup that the circuit lacks, a node matters in the circuit alone."""
MATTERS = 0.05
"""A single node with a smaller effect, both in the circuit and in the model, is left out."""
LIMIT = 0.4
"""Sum of |circuit - model| over sum of |model|; the judge allows 0.5, on other pairs."""
WORST = 0.25
"""|circuit - model| of a single node, as a share of the way. A sum is led by the nodes that agree: where the model does
a thing twice and the circuit once, one node is off by 0.3 to 0.5 (docs/ground_truth.md); in true circuits by 0.01."""


class Interchange:
    """Normalised error between effects in the circuit and in the model, over subsets and over single nodes, and the
    worst single node's on the same scale."""

    name: ClassVar[str] = "interchange"

    def __init__(self, engine: Engine, target: float) -> None:
        self.sides, self.model = Sides(engine), engine.model
        self.known_in_model: dict[bytes, float] = {}
        """Effects in the whole model of the sets that were asked for, by their sha256: they do not depend on the gates,
        and there are thousands of sets, each a mask over all nodes."""

    def losses(
        self, gates: Float[Tensor, "S nodes"], rows: Sequence[Int[Tensor, " n"]], generators: Sequence[torch.Generator]
    ) -> Float[Tensor, " S"]:
        """Squared difference of the effects of a random set of open nodes, mean over prompts."""
        losses = []
        for vector, chosen, generator in zip(gates, rows, generators, strict=True):
            patching = self.sides.batch(chosen)
            share = SHARES[int(torch.randint(len(SHARES), (), generator=generator))]
            order = torch.rand(self.model.space.n_nodes, generator=generator).to(vector.device)
            chosen_nodes = subset(vector, order, share)[None]
            in_circuit = patching.effects(chosen_nodes, vector)[0]
            with torch.no_grad():
                in_model = patching.effects(chosen_nodes)[0]
            losses.append((in_circuit - in_model).square().mean())
        return torch.stack(losses)

    @cached_property
    def orders(self) -> Float[Tensor, "shares nodes"]:
        """Fixed random orders of all nodes, one for each share."""
        return torch.rand(len(SHARES), self.model.space.n_nodes, generator=torch.Generator().manual_seed(2)).to(
            self.sides.engine.device
        )

    @cached_property
    def first_order(self) -> Float[Tensor, " nodes"]:
        """Magnitude of each node's effect in the whole model, to first order."""
        prompts = self.sides.judged_prompts
        with torch.no_grad():
            seen, _ = record(self.model, prompts)
        other, leaves = other_side(seen, prompts.n_pairs), {}

        def keep(site: str, x: Tensor) -> Tensor:
            if site in self.model.space.widths:
                leaves[site] = x = x if x.requires_grad else x.detach().requires_grad_()
            return x

        with torch.enable_grad():
            moved = (logit_difference(self.model, prompts, keep) * prompts.sign).mean()
            slopes = dict(zip(leaves, torch.autograd.grad(moved, list(leaves.values())), strict=True))
        effect = {
            site: ((other[site] - seen[site]) * slope).flatten(0, -2).sum(0).abs() for site, slope in slopes.items()
        }
        return self.model.space.flat(effect)

    @torch.no_grad()
    def measure(
        self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = (), stop: float = float("inf")
    ) -> Demand:
        removed = tuple(removed)
        sets = torch.stack([subset(gates, order, share) for order, share in zip(self.orders, SHARES, strict=True)])
        in_circuit = self.sides.judged.effects(sets, gates, removed).mean(1)
        error = normalised_error(in_circuit, self._in_model(sets).to(in_circuit))
        if error > stop * LIMIT:
            return Demand(error, LIMIT)
        circuit, model = self._singles(gates, removed)
        worst = float((circuit - model).abs().max()) if len(circuit) else 0.0
        return Demand(max(error, normalised_error(circuit, model), worst / WORST * LIMIT), LIMIT)

    def _singles(self, gates: Tensor, removed: Sequence[Edge]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Effects of the single nodes that matter, (in the circuit, in the model)."""
        nodes = self.strongest(gates)
        if not len(nodes):
            return torch.zeros(0), torch.zeros(0)
        masks = torch.zeros(len(nodes), len(gates), dtype=torch.bool, device=gates.device)
        masks[torch.arange(len(nodes), device=gates.device), nodes] = True
        in_circuit = self.sides.judged.effects(masks, gates, removed).mean(1)
        in_model = self._in_model(masks).to(in_circuit)
        matter = torch.maximum(in_circuit.abs(), in_model.abs()) >= MATTERS
        return in_circuit[matter], in_model[matter]

    def strongest(self, gates: Float[Tensor, " nodes"]) -> Int[Tensor, " n"]:
        """The open nodes that are patched one at a time, ascending."""
        n = min(SINGLES, int((gates > 0).sum()))
        with torch.enable_grad():
            in_circuit = self.sides.engine.effects(gates)[0].abs()
        orders = (self.first_order, in_circuit)
        chosen = [torch.where(gates > 0, order.to(gates), -1.0).topk(n).indices for order in orders]
        return torch.cat(chosen).unique()

    def _in_model(self, sets: Bool[Tensor, "V nodes"]) -> Float[Tensor, " V"]:
        """Mean effect of each set in the whole model."""
        keys = [sha256(chosen.cpu().numpy().tobytes()).digest() for chosen in sets]
        if new := [i for i, key in enumerate(keys) if key not in self.known_in_model]:
            found = self.sides.judged.effects(sets[new]).mean(1).tolist()
            self.known_in_model |= {keys[i]: effect for i, effect in zip(new, found, strict=True)}
        return torch.tensor([self.known_in_model[key] for key in keys])


def subset(gates: Float[Tensor, " nodes"], order: Float[Tensor, " nodes"], share: float) -> Bool[Tensor, " nodes"]:
    """The open nodes that come first in a random order: the given share of them, at least one."""
    place = torch.where(gates.detach() > 0, order, torch.inf)
    n_open = int((gates.detach() > 0).sum())
    chosen = torch.zeros_like(place, dtype=torch.bool)
    if n_open:
        chosen[place.topk(max(1, round(share * n_open)), largest=False).indices] = True
    return chosen


def normalised_error(circuit: Float[Tensor, " V"], model: Float[Tensor, " V"]) -> float:
    """Sum of |circuit - model| over sum of |model|; infinite where only the circuit has effects, 0 where none has."""
    wrong, total = float((circuit - model).abs().sum()), float(model.abs().sum())
    return wrong / total if total else float("inf") if wrong else 0.0
