"""Pairs whose two sides are exchanged node by node: what the terms that patch activations compute with.

Two ways behind one protocol, as for `engine`: `FastPatching` on the CPU, rows of a prefix tree by sides, and
`PlainPatching` through `GPT.forward`, on any device. Both give the same numbers (a test holds them together).
"""

from collections.abc import Iterable
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from thinwire.circuits.ablation import Means, remove_edges
from thinwire.circuits.graph import Edge
from thinwire.circuits.patching import Activations, other_side, patch, record
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.circuits.scales import freeze_scales, record_scales
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Hook, compose, identity
from thinwire.model.nodes import NodeSpace
from thinwire.pruning import fast
from thinwire.pruning.fast import FastModel, Patch, Scales, Trace
from thinwire.pruning.prefix_tree import PrefixTree

SMALLEST_WAY = 0.5
"""A difference between the sides below this, in logits, counts as this much: effects are shares of it."""
TOKENS_AT_ONCE = 1 << 13


@runtime_checkable
class Patching(Protocol):
    """Some pairs of a split, whose sides have equally many tokens. Differentiable in the gates."""

    sign: Float[Tensor, " P"]
    """+1 where `answer` is right, -1 where `other` is."""

    @property
    def whole(self) -> Float[Tensor, " P"]:
        """The whole model's logit difference."""
        ...

    def effects(
        self,
        sets: Bool[Tensor, "V nodes"],
        gates: Float[Tensor, " nodes"] | None = None,
        removed: Iterable[Edge] = (),
    ) -> Float[Tensor, "V P"]:
        """Shift of every prompt's difference towards the other side's when each set of nodes is patched from there, as
        a share of the way between the sides.

        In the circuit of the open gates, without the `removed` edges and with its own activations; without gates in the
        whole model. A set may hold nodes whose gates are open only.
        """
        ...

    def against(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = ()) -> Float[Tensor, " P"]:
        """Logit difference with all shut nodes, and `removed` edges, as in the whole model on the other side."""
        ...


def gated(space: NodeSpace, gates: Float[Tensor, "S nodes"], values: Means | Activations) -> Hook:
    """Shut nodes at `values`; row r of a batch is gated by vector r // (rows / S)."""
    by_site = space.by_site(gates)

    def hook(site: str, x: Tensor) -> Tensor:
        if site not in by_site:
            return x
        gate = by_site[site]
        if len(gate) > 1:
            gate = gate.repeat_interleave(len(x) // len(gate), dim=0)[(slice(None), *[None] * (x.ndim - 2))]
        return torch.addcmul((1 - gate) * values[site], x, gate)

    return hook


class PlainPatching:
    """`Patching` by `GPT.forward` with hooks."""

    def __init__(self, model: GPT, prompts: Prompts, means: Means, whole_scales: bool) -> None:
        self.model, self.prompts, self.means, self.whole_scales = model, prompts, means, whole_scales
        self.sign = prompts.sign

    @cached_property
    def recorded(self) -> tuple[Activations, Float[Tensor, " P"]]:
        """(activations, logit difference) of the whole model."""
        with torch.no_grad():
            return record(self.model, self.prompts)

    @property
    def whole(self) -> Float[Tensor, " P"]:
        return self.recorded[1]

    def effects(
        self,
        sets: Bool[Tensor, "V nodes"],
        gates: Float[Tensor, " nodes"] | None = None,
        removed: Iterable[Edge] = (),
    ) -> Float[Tensor, "V P"]:
        edges = remove_edges(self.model, removed, self.means)
        if gates is None:
            seen, before = self.recorded
        else:
            seen, before = record(self.model, self.prompts, self._gated(gates, self.means), edges)
        other, n, after = other_side(seen, self.prompts.n_pairs), len(self.prompts.lengths), []
        for part in sets.split(max(1, TOKENS_AT_ONCE // self.prompts.tokens.numel())):
            masks = {site: mask for site, mask in self.model.space.by_site(part).items() if mask.any()}
            batch = self.prompts.repeated(len(part))
            base = identity if gates is None else self._gated(gates, self.means)
            after.append(logit_difference(self.model, batch, compose(base, patch(masks, other)), edges))
        return _shift(before, torch.cat([x.unflatten(0, (-1, n)) for x in after]), self.sign)

    def against(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = ()) -> Float[Tensor, " P"]:
        other = other_side(self.recorded[0], self.prompts.n_pairs)
        hook = self._gated(gates, other)
        return logit_difference(self.model, self.prompts, hook, remove_edges(self.model, removed, other))

    @cached_property
    def _scales(self) -> Hook:
        """The whole model's RMSNorm scales, where these are frozen, on its prompts and on copies of them."""
        return freeze_scales(record_scales(self.model, self.prompts)) if self.whole_scales else identity

    def _gated(self, gates: Float[Tensor, " nodes"], values: Means | Activations) -> Hook:
        return compose(gated(self.model.space, gates[None], values), self._scales)


class FastPatching:
    """`Patching` by a tree of prefixes, compaction and sparse kernels."""

    def __init__(self, model: FastModel, tree: PrefixTree, scales: Scales | None) -> None:
        """`tree` is by sides; `scales` freezes RMSNorms."""
        self.model, self.tree, self.scales = model, tree, scales
        self.sign = torch.from_numpy(tree.sign)

    @cached_property
    def recorded(self) -> tuple[dict[str, Tensor], Float[Tensor, " P"]]:
        """(the other side's activations, logit difference) of the whole model."""
        trace = Trace()
        with torch.no_grad():
            difference = self.model.difference(self.tree, self.model.everything, trace=trace)
        return fast.other_side(trace.activations, self.tree, self.model.config.n_layer), difference

    @property
    def whole(self) -> Float[Tensor, " P"]:
        return self.recorded[1]

    def effects(
        self,
        sets: Bool[Tensor, "V nodes"],
        gates: Float[Tensor, " nodes"] | None = None,
        removed: Iterable[Edge] = (),
    ) -> Float[Tensor, "V P"]:
        if gates is None:
            by_site, thinned, scales = self.model.everything, {}, None
            other, before = self.recorded
        else:
            by_site, thinned, scales = self.model.space.by_site(gates), self.model.without(removed), self.scales
            trace = Trace()
            before = self.model.difference(self.tree, by_site, thinned, scales, trace)
            other = fast.other_side(trace.activations, self.tree, self.model.config.n_layer)
        after = []
        for chosen in sets:
            masks = {site: mask for site, mask in self.model.space.by_site(chosen).items() if mask.any()}
            patched = Patch(masks, other)
            after.append(self.model.difference(self.tree, by_site, thinned, scales, patch=patched))
        return _shift(before, torch.stack(after), self.sign)

    def against(self, gates: Float[Tensor, " nodes"], removed: Iterable[Edge] = ()) -> Float[Tensor, " P"]:
        by_site = self.model.space.by_site(gates)
        return self.model.difference(
            self.tree, by_site, self.model.without(removed), self.scales, stand_ins=self.recorded[0]
        )


def way(difference: Float[Tensor, " P"]) -> Float[Tensor, ""]:
    """Mean distance between the two sides' logit differences."""
    clean, corrupt = difference.unflatten(0, (2, -1))
    return (clean - corrupt).mean()


def bounded_way(difference: Float[Tensor, " P"]) -> float:
    """`way`, at least `SMALLEST_WAY`; a plain number, through which no gradient goes."""
    return max(SMALLEST_WAY, float(way(difference.detach())))


def _shift(before: Float[Tensor, " P"], after: Float[Tensor, "V P"], sign: Float[Tensor, " P"]) -> Float[Tensor, "V P"]:
    return (before - after) * sign / bounded_way(before)
