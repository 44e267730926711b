"""The forward pass of a frozen model under gates, as pruning needs it: fast, on the CPU, with the gates' gradient.

It computes what `GPT.forward` computes with a hook that puts shut nodes at their means (a test holds the two together),
and leaves out what changes nothing:

    1. each distinct prefix of the prompts is one row                                   pruning.prefix_tree
    2. queries, MLP and output of the last layer only where prompts end, two logits only
    3. a shut node is a constant: it leaves the matrices, its mean goes into the bias    compaction
    4. weights stored sparse; AbsTopK's zeros and unheard gradients skipped              sparsity.kernels.gated

A gate's gradient is exact at every step, so a shut gate can open again at any time.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from thinwire.circuits.ablation import Means
from thinwire.circuits.graph import Edge
from thinwire.circuits.prompts import Prompts
from thinwire.kernels.gated import Lines
from thinwire.model.gpt import ACTIVATIONS, GPT, Reader
from thinwire.model.nodes import Nodes
from thinwire.model.norm import LAYER_NORM_EPS
from thinwire.model.sites import EMBED, FINAL
from thinwire.pruning.gated_ops import Attend, Gate, Keys, Matrix, Norm, Product, Take
from thinwire.pruning.prefix_tree import Partners, PrefixTree

Gates = Mapping[str, Tensor]
"""Node site -> 1 for every open gate, 0 for every shut one, float32."""
Scales = Mapping[str, np.ndarray]
"""Site of an RMSNorm scale -> its value for every row of a tree."""
Rows = Mapping[str, Tensor]
"""Node site -> activations on the rows that a pass has there; a single row stands for all."""


@dataclass(frozen=True)
class Patch:
    """Activations put in the place of a pass's own."""

    masks: Mapping[str, Tensor]
    """Site -> True for the channels that are replaced."""
    values: Rows


@dataclass(frozen=True)
class Thinned:
    """One matrix without some of its edges: these carry their source's mean."""

    by_source: Lines
    constant: np.ndarray
    """Bias, and the removed edges' means where these arrive with weight 1, per target."""
    by_head: np.ndarray | None
    """The removed edges' means per (head, target), where an attention sink scales them."""
    removed: Callable[[], Lines]
    """The removed edges by source, for what they carry where that differs between prompts."""
    sources: np.ndarray
    """Sources of removed edges."""


class FastModel:
    """A frozen model and the means of its nodes, laid out for `difference`."""

    def __init__(self, model: GPT, means: Means) -> None:
        config = self.config = model.config
        self.space, self.ends = model.space, model.space.matrices
        weights = {name: value.detach().cpu() for name, value in model.named_parameters()}
        self.means = {site: mean.detach().cpu().float() for site, mean in model.space.ordered(means).items()}
        self.matrices = {
            name: Matrix.of(weights[name], weights[name.removesuffix("weight") + "bias"]) for name in self.ends
        }
        self.weights = {name: weight for name, weight in weights.items() if name not in self.matrices}
        self.n_kept = {site: model.space.n_kept(site) for site in model.space.sites}
        self.activate = ACTIVATIONS[config.variant.activation]
        self.beside = _normed_positions(model) if config.variant.d_positions else {}
        """Where positions are concatenated: block (`0.attn`) -> its normed table, (context, P)."""
        self._last: tuple[tuple[Edge, ...], dict[str, Thinned]] = ((), {})

    @cached_property
    def everything(self) -> dict[str, Tensor]:
        """All gates open."""
        return {site: torch.ones_like(mean) for site, mean in self.means.items()}

    def gates(self, nodes: Nodes) -> dict[str, Tensor]:
        """Gates that are open at `nodes` only."""
        return {site: mask.float() for site, mask in self.space.masks(nodes).items()}

    def tree(self, prompts: Prompts, by_sides: bool = False) -> PrefixTree:
        """The prompts as this model's rows."""
        return PrefixTree.of(prompts, self.config.positions == "learned", by_sides)

    def without(self, edges: Iterable[Edge]) -> dict[str, Thinned]:
        """The matrices that lose some of `edges`, without them.

        The last ones are kept: every part, draw and term of a trial asks for the same.
        """
        edges = tuple(edges)
        if edges != self._last[0]:
            self._last = edges, self._without(edges)
        return self._last[1]

    def _without(self, edges: tuple[Edge, ...]) -> dict[str, Thinned]:
        removed: dict[str, list[tuple[int, int]]] = {}
        for edge in edges:
            removed.setdefault(self.space.check_edge(*edge[:4]), []).append((edge.target, edge.source))
        return {name: self._thinned(name, np.array(pairs)) for name, pairs in removed.items()}

    def _thinned(self, name: str, removed: np.ndarray) -> Thinned:
        """One matrix without the edges (target, source) of `removed`."""
        matrix, (target, source) = self.matrices[name], removed.T
        weight, at_mean = matrix.weight.copy(), np.zeros_like(matrix.weight)
        weight[target, source] = 0
        at_mean[target, source] = matrix.weight[target, source] * self.means[self.ends[name][0]].numpy()[source]
        lines, sources = Lines(weight.T), np.unique(source)

        def lost() -> Lines:
            return Lines((matrix.weight - weight).T)

        if not (self.config.sink and name.endswith("attn.out.weight")):
            return Thinned(lines, matrix.bias + at_mean.sum(1), None, lost, sources)
        by_head = at_mean.reshape(len(at_mean), self.config.n_head, self.config.d_head).sum(2).T
        return Thinned(lines, matrix.bias, np.ascontiguousarray(by_head), lost, sources)

    def difference(
        self,
        tree: PrefixTree,
        gates: Gates,
        thinned: Mapping[str, Thinned] | None = None,
        scales: Scales | None = None,
        trace: "Trace | None" = None,
        *,
        stand_ins: Rows | None = None,
        patch: Patch | None = None,
    ) -> Float[Tensor, " P"]:
        """logit(answer) - logit(other) at the end of every prompt, differentiable in the gates.

        `thinned` takes out single edges (and leaves no gradient), `scales` freezes the RMSNorms. `trace` is told what
        went through. With `stand_ins` shut nodes, and edges that are taken out, carry these in place of the means;
        `patch` replaces open nodes too.
        """
        x = _Pass(self, tree, gates, thinned or {}, scales, trace or Trace(), stand_ins, patch).final()
        answer, other = tree.answer, tree.other
        difference = x @ (self.weights["unembed.weight"][answer] - self.weights["unembed.weight"][other])
        if "bigram" in self.weights:
            table = self.weights["bigram"][torch.from_numpy(tree.last_tokens)]
            difference = difference + table[:, answer] - table[:, other]
        return difference

    @torch.no_grad()
    def logits(
        self,
        tree: PrefixTree,
        gates: Gates,
        thinned: Mapping[str, Thinned] | None = None,
        scales: Scales | None = None,
    ) -> Float[Tensor, "P V"]:
        """Logits over the whole vocabulary at the end of every prompt."""
        logits = _Pass(self, tree, gates, thinned or {}, scales, Trace()).final() @ self.weights["unembed.weight"].T
        if "bigram" in self.weights:
            logits += self.weights["bigram"][torch.from_numpy(tree.last_tokens)]
        return logits

    def scales(self, tree: PrefixTree) -> dict[str, np.ndarray]:
        """The whole model's RMSNorm scales on a tree's rows."""
        trace = Trace()
        with torch.no_grad():
            self.difference(tree, self.everything, trace=trace)
        return trace.scales


def _normed_positions(model: GPT) -> dict[str, Tensor]:
    """Block -> the positional table as it is concatenated to what that block reads."""
    assert model.positions is not None
    parts = [module for module in model.modules() if isinstance(module, Reader)]
    with torch.no_grad():
        normed = {part.site: part.positions_beside(model.positions.weight) for part in parts}
    return {site: table.cpu() for site, table in normed.items()}


class Trace:
    """What went through a pass: activations and RMSNorm scales by site, (input, product) of every matrix by name."""

    def __init__(self) -> None:
        self.activations: dict[str, Tensor] = {}
        self.scales: dict[str, np.ndarray] = {}
        self.products: dict[str, tuple[Tensor, Tensor]] = {}


def pick_scales(scales: Scales, picked: PrefixTree, n_layer: int) -> dict[str, np.ndarray]:
    """Scales of a tree's rows, restricted to the rows of one that was picked from it."""
    ids = Partners(picked.stem_ids, picked.prefix_ids, picked.prompt_ids)
    return {site: scale[rows_at(site, n_layer, ids)] for site, scale in scales.items()}


def rows_at(site: str, n_layer: int, of: Partners) -> np.ndarray:
    """What a pass has as rows at a site: stems before the first attention, ends of prompts behind the last."""
    if site in (EMBED, "0.resid.pre", "0.attn.scale", "0.attn.in", "0.attn.k", "0.attn.v"):
        return of.stems
    layer, _, name = site.partition(".")
    before = name in ("resid.pre", "attn.scale", "attn.in", "attn.k", "attn.v")
    return of.prefixes if site.partition(".")[0] != FINAL and (before or layer != str(n_layer - 1)) else of.prompts


def other_side(seen: Rows, tree: PrefixTree, n_layer: int) -> dict[str, Tensor]:
    """Each row's activations exchanged for those of its partner, in a tree by sides."""
    partners = tree.partners()
    return {
        site: x if len(x) == 1 else x[torch.from_numpy(rows_at(site, n_layer, partners))] for site, x in seen.items()
    }


class _Pass:
    """One forward pass; its methods read like those of `GPT`. A tensor of one row is the same on all rows.

    Without gradients, a site whose gates are all shut is not computed at all.
    """

    def __init__(
        self,
        model: FastModel,
        tree: PrefixTree,
        gates: Gates,
        thinned: Mapping[str, Thinned],
        scales: Scales | None,
        trace: Trace,
        stand_ins: Rows | None = None,
        patch: Patch | None = None,
    ) -> None:
        self.model, self.tree, self.gates, self.thinned = model, tree, gates, thinned
        self.scales, self.trace, self.stand_ins, self.patch = scales, trace, stand_ins, patch
        self.lean = not torch.is_grad_enabled()
        self.open = {site: np.flatnonzero(gate.detach().numpy()) for site, gate in gates.items()}

    def final(self) -> Float[Tensor, "P D"]:
        """What the unembedding reads at the end of every prompt."""
        tree, weights = self.tree, self.model.weights
        x = weights["embed.weight"][torch.from_numpy(tree.tokens)]  # (stems, D)
        if "positions.weight" in weights and not self.model.beside:
            x = x + weights["positions.weight"][torch.from_numpy(tree.positions)]
        x = self.gate(EMBED, x)
        for layer in range(self.model.config.n_layer):
            x = self.attention(layer, self.stream(f"{layer}.resid.pre", x))  # (prefixes, D); last layer: (P, D)
            x = self.stream(f"{layer}.resid.mid", x)
            x = self.stream(f"{layer}.resid.post", x + self.mlp(layer, x))
        x = self.gate(FINAL, self.norm(FINAL, "norm", x))
        return x.expand(len(tree.ends), -1)

    def stream(self, site: str, x: Tensor) -> Tensor:
        """What a variant does to the residual stream at `site`."""
        if site not in self.gates:
            return x
        bent = self.model.config.variant.residual == "relu" and not site.endswith(".pre")
        return self.gate(site, torch.relu(x) if bent else x)

    def read(self, block: str, x: Tensor) -> Tensor:
        """What attention or MLP reads of `x`."""
        h = self.norm(block, f"blocks.{block}.norm", x)
        if block in self.model.beside:
            beside = self.model.beside[block][torch.from_numpy(self.positions(block))]
            h = torch.cat([h.expand(len(beside), -1), beside], dim=-1)
        return self.gate(f"{block}.in", h)

    def positions(self, block: str) -> np.ndarray:
        """Position of every row that `block` reads."""
        if block == "0.attn":
            return self.tree.positions
        positions = self.tree.counts - 1
        return positions[self.tree.ends] if block == f"{self.model.config.n_layer - 1}.mlp" else positions

    def attention(self, layer: int, x: Tensor) -> Tensor:
        """The residual stream after the layer's attention: at every prefix, in the last layer where prompts end."""
        tree, site = self.tree, f"{layer}.attn"
        row_of = tree.stem if layer == 0 else np.arange(len(tree.stem))
        queries = tree.ends if layer == self.model.config.n_layer - 1 else np.arange(len(tree.stem))
        at, rows, counts = row_of[queries], row_of[tree.keys[queries]], tree.counts[queries]
        mixed, gain, lost = self.model.means[f"{site}.v"][None], None, None
        if self.model.config.sink or not self.unheard(f"{site}.v", f"{site}.out"):
            h, lost = self.read(site, x), self.lost(f"{site}.in")  # (stems or prefixes, R)
            q = self.linear(f"{site}.q", _take(h, at), lost=None if lost is None else _take(lost, at))  # (queries, H K)
            k, v = (self.linear(f"{site}.{name}", h, lost=lost) for name in ("k", "v"))  # (stems or prefixes, H K)
            mixed, gain = self.attend(layer, q, k, v, rows, counts)
            lost = self.lost(f"{site}.v")
            if lost is not None and f"blocks.{site}.out.weight" in self.thinned:
                lost, _ = self.attend(layer, q, k, lost, rows, counts)
        return _take(x, at) + self.linear(f"{site}.out", mixed, gain, lost)

    def lost(self, site: str) -> Tensor | None:
        """What edges from `site` that were taken out carry, where that is no mean."""
        return None if self.stand_ins is None else self.stand_ins[site]

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, rows: np.ndarray, counts: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """Heads in which nothing moves and which nobody hears stay at the means of their values."""
        config, site = self.model.config, f"{layer}.attn"
        sink = self.model.weights.get(f"blocks.{layer}.attn.sink")
        heads = np.arange(config.n_head)
        if sink is None and self.stand_ins is None:
            used = self.gates[f"{site}.v"].detach().numpy() != 0
            if not self.lean:
                used = used | self.model.matrices[f"blocks.{site}.out.weight"].weight[self.open[f"{site}.out"]].any(0)
            heads = np.flatnonzero(used.reshape(config.n_head, -1).any(1))
        q = q.expand(len(rows), -1).contiguous()
        k, v = (x.expand(rows.max() + 1, -1).contiguous() if len(x) == 1 else x for x in (k, v))
        sinks = np.empty(0, np.float32) if sink is None else sink.numpy()
        keys = Keys(rows, counts, config.d_head)
        return Attend.apply(q, k, v, keys, heads, self.model.means[f"{site}.v"], sinks)  # pyright: ignore

    def mlp(self, layer: int, x: Tensor) -> Tensor:
        site = f"{layer}.mlp"
        if self.unheard(f"{site}.neuron", f"{site}.out"):
            return self.linear(f"{site}.out", self.model.means[f"{site}.neuron"][None])
        h = self.product(f"{site}.neuron", self.read(site, x), lost=self.lost(f"{site}.in"))  # (prefixes or P, N)
        h = self.gate(f"{site}.neuron", self.model.activate(h))
        return self.linear(f"{site}.out", h, lost=self.lost(f"{site}.neuron"))

    def unheard(self, inner: str, outer: str) -> bool:
        """Whether nothing behind site `inner` matters: all of it is shut, and no gradient comes through `outer`.

        Stand-ins that differ between prompts matter while anything of `outer` is open.
        """
        if self.stand_ins is not None:
            return self.lean and not len(self.open[outer])
        return not len(self.open[inner]) and (self.lean or not len(self.open[outer]))

    def norm(self, site: str, name: str, x: Tensor) -> Tensor:
        site = f"{site}.scale"
        gain, shift = self.model.weights[f"{name}.gain"], self.model.weights.get(f"{name}.shift")
        eps = torch.finfo(x.dtype).eps if shift is None else LAYER_NORM_EPS
        if shift is not None:
            x = x - x.mean(-1, keepdim=True)
        frozen = None if self.scales is None else self.scales[site]
        if frozen is not None and len(x) < len(frozen):
            x = x.expand(len(frozen), -1).contiguous()
        out, scale = Norm.apply(x, gain, eps, frozen)  # pyright: ignore[reportGeneralTypeIssues]
        self.trace.scales[site] = scale.numpy()
        return out if shift is None else out + shift

    def gate(self, site: str, x: Tensor) -> Tensor:
        if self.lean and not len(self.open[site]):
            return self.shut(site)
        gate, mean, n_kept = self.gates[site], self.model.means[site], self.model.n_kept[site]
        if self.stand_ins is None:
            out = Gate.apply(x, gate, mean, n_kept)
        else:
            kept = Gate.apply(x, torch.ones_like(gate), mean, n_kept)
            out = torch.addcmul((1 - gate) * self.stand_ins[site], kept, gate)  # pyright: ignore[reportArgumentType]
        if self.patch is not None and site in self.patch.masks:
            out = torch.where(self.patch.masks[site], self.patch.values[site], out)  # pyright: ignore
        self.trace.activations[site] = out  # pyright: ignore[reportArgumentType]
        return out  # pyright: ignore[reportReturnType]

    def shut(self, site: str) -> Tensor:
        """Activations where no gate is open."""
        return self.model.means[site][None] if self.stand_ins is None else self.stand_ins[site]

    def linear(self, site: str, x: Tensor, gain: Tensor | None = None, lost: Tensor | None = None) -> Tensor:
        if self.lean and not len(self.open[site]):
            return self.shut(site)
        return self.gate(site, self.product(site, x, gain, lost))

    def product(self, site: str, x: Tensor, gain: Tensor | None = None, lost: Tensor | None = None) -> Tensor:
        """The matrix into `site` times x. Shut sources are constants, except under a sink, which scales their means.

        With stand-ins all sources count, and edges that were taken out carry `lost`.
        """
        layer, _, name = site.partition(".")
        matrix_name = f"blocks.{layer}.{name}.weight"
        matrix, (source, target) = self.model.matrices[matrix_name], self.model.ends[matrix_name]
        thinned = self.thinned.get(matrix_name)
        by_source, constant = (thinned or matrix).by_source, (matrix.bias if thinned is None else thinned.constant)
        sources = self.open[source]
        if lost is not None:
            sources = np.arange(x.shape[1])
            if thinned is not None:
                constant = matrix.bias
                carried = thinned.removed().product(lost.numpy(), thinned.sources, np.zeros_like(constant))
                out = by_source.product(x.numpy(), sources, constant)
                return torch.from_numpy(out) + torch.from_numpy(carried)
        elif gain is not None and self.model.config.sink:
            sources = np.arange(x.shape[1])
        elif len(sources) < x.shape[1]:
            shut = np.flatnonzero(self.gates[source].detach().numpy() == 0)
            constant = by_source.product(self.model.means[source].numpy()[None], shut, constant)[0]
        if thinned is not None:
            out = torch.from_numpy(by_source.product(x.detach().numpy(), sources, constant))
            return out if thinned.by_head is None or gain is None else out + gain @ torch.from_numpy(thinned.by_head)
        out = Product.apply(x, matrix, constant, sources, self.open[target])
        self.trace.products[matrix_name] = (x, out)  # pyright: ignore[reportArgumentType]
        return out  # pyright: ignore[reportReturnType]


def _take(x: Tensor, index: np.ndarray) -> Tensor:
    """Rows of x; a single row stands for all."""
    return x if len(x) == 1 else Take.apply(x, index)  # pyright: ignore[reportReturnType]
