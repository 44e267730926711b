"""The parts of a model as decoding computes them, put together from its weights and, where one is given, a circuit."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from thinwire.inference.alone import Alone
from thinwire.inference.weights import Weights, by_columns, by_rows
from thinwire.kernels.decoding import FUNCTIONS, Lines, Norm, Site, multiply, read, step
from thinwire.model.config import ModelConfig
from thinwire.model.nodes import node_space
from thinwire.model.norm import LAYER_NORM_EPS
from thinwire.model.sites import EMBED, FINAL
from thinwire.storage.sparse_tensors import Nonzeros

NOTHING = np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class Map:
    """A weight matrix with its bias, the function behind it, and the site that it leads to."""

    matrix: Lines
    bias: np.ndarray
    site: Site
    function: int = 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return multiply(x, self.matrix, self.bias, self.site, self.function)


@dataclass(frozen=True)
class Reader:
    """A norm, the positions that are concatenated behind it, and the site that both lead to."""

    norm: Norm
    site: Site
    beside: np.ndarray | None = None
    """(T, P), normed; None where there are none."""

    def __call__(
        self, x: np.ndarray, positions: np.ndarray, scales: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        beside = np.empty((len(x), 0), np.float32) if self.beside is None else self.beside[positions]
        return read(x, beside, self.norm, self.site, scales)


@dataclass(frozen=True)
class Stream:
    """What happens to the residual stream between two blocks."""

    site: Site
    bends: bool = False

    def __call__(self, x: np.ndarray, added: np.ndarray = NOTHING) -> None:
        step(x, added, self.bends, self.site)


@dataclass(frozen=True)
class Block:
    """One layer."""

    pre: Stream | None
    attn_in: Reader
    q: Map
    k: Map
    v: Map
    sinks: np.ndarray
    """Empty where there are none."""
    attn_out: Map
    """Reads what attention leaves and, if it has more columns, the sum of each head's shares."""
    mid: Stream
    mlp_in: Reader
    neuron: Map
    mlp_out: Map
    post: Stream


class Builder:
    """Makes the parts of a model of this shape."""

    def __init__(self, config: ModelConfig, weights: Weights, alone: Alone | None) -> None:
        self.config, self.alone, self.space = config, alone, node_space(config)
        self._weights = weights

    def table(self, name: str) -> Lines:
        """A matrix to look rows up in."""
        return by_rows(self._weights[name])

    def vector(self, name: str) -> np.ndarray:
        return self._tensor(name).numpy()

    def positions(self) -> np.ndarray | None:
        """(T, width), or None."""
        return self.vector("positions.weight") if self.config.positions == "learned" else None

    def embedded(self) -> Stream:
        return Stream(self._site(EMBED))

    def final(self) -> Reader:
        return Reader(self._norm("norm"), self._site(FINAL))

    def unembed(self) -> Map:
        n_out = self.config.vocab_size
        return Map(by_columns(self._weights["unembed.weight"]), np.zeros(n_out, np.float32), self._plain(n_out))

    def block(self, layer: int) -> Block:
        sinks = f"blocks.{layer}.attn.sink"
        return Block(
            pre=self._stream(layer, "pre") if "resid.pre" in self.config.variant.residual_sites else None,
            attn_in=self._reader(layer, "attn"),
            q=self._map(layer, "attn.q"),
            k=self._map(layer, "attn.k"),
            v=self._map(layer, "attn.v"),
            sinks=self.vector(sinks) if self.config.sink else np.empty(0, np.float32),
            attn_out=self._map(layer, "attn.out"),
            mid=self._stream(layer, "mid"),
            mlp_in=self._reader(layer, "mlp"),
            neuron=self._map(layer, "mlp.neuron", FUNCTIONS.index(self.config.variant.activation)),
            mlp_out=self._map(layer, "mlp.out"),
            post=self._stream(layer, "post"),
        )

    def _tensor(self, name: str) -> Tensor:
        found = self._weights[name]
        return (found.dense() if isinstance(found, Nonzeros) else found).detach().contiguous()

    def _plain(self, width: int) -> Site:
        return Site(width, np.empty(0, np.bool_), np.empty(0, np.float32))

    def _site(self, name: str) -> Site:
        site = self._plain(self.space.widths[name])._replace(n_kept=self.space.n_kept(name))
        if self.alone is None:
            return site
        return site._replace(is_open=self.alone.is_open[name], stand_in=self.alone.means[name])

    def _norm(self, name: str) -> Norm:
        gain = self.vector(f"{name}.gain")
        if self.config.variant.norm == "rms":
            return Norm(gain, np.empty(0, np.float32), np.float32(torch.finfo(torch.float32).eps))
        return Norm(gain, self.vector(f"{name}.shift"), np.float32(LAYER_NORM_EPS))

    def _reader(self, layer: int, block: str) -> Reader:
        name = f"blocks.{layer}.{block}"
        reader = Reader(self._norm(f"{name}.norm"), self._site(f"{layer}.{block}.in"))
        table, width = self.positions(), self.config.variant.d_positions
        if table is None or not width:
            return reader
        none = np.empty((len(table), 0), np.float32)
        normed, _ = read(table, none, self._norm(f"{name}.position_norm"), self._plain(width))
        return replace(reader, beside=normed)

    def _stream(self, layer: int, name: str) -> Stream:
        variant = self.config.variant
        bends = variant.residual == "relu" and name != "pre"
        if f"resid.{name}" in variant.residual_sites:
            return Stream(self._site(f"{layer}.resid.{name}"), bends)
        return Stream(self._plain(self.config.d_model), bends)

    def _map(self, layer: int, part: str, function: int = 0) -> Map:
        name, site = f"blocks.{layer}.{part}", self._site(f"{layer}.{part}")
        matrix, bias = self._weights[f"{name}.weight"], self.vector(f"{name}.bias")
        removed = self.alone.removed.get(f"{name}.weight") if self.alone else None
        if not removed:
            return Map(by_columns(matrix), bias, site, function)
        assert self.alone is not None
        kept, taken = split(matrix, removed)
        source, _ = self.space.matrices[f"{name}.weight"]
        carried = taken * self.alone.means[source]  # (targets, sources): what each removed weight goes on to carry
        if part != "attn.out":
            return Map(by_columns(kept), bias + carried.sum(1), site, function)
        # A value arrives with what the shares of its head add up to, and so does what stands in for it.
        per_head = carried.reshape(len(carried), self.config.n_head, -1).sum(2)
        return Map(beside(by_columns(kept), by_columns(Nonzeros.of(torch.from_numpy(per_head)))), bias, site, function)


def split(matrix: Tensor | Nonzeros, removed: list[tuple[int, int]]) -> tuple[Nonzeros, np.ndarray]:
    """(the matrix without the entries (target, source), those entries as a dense matrix)."""
    dense = matrix.dense() if isinstance(matrix, Nonzeros) else matrix
    targets, sources = (list(places) for places in zip(*removed, strict=True))
    taken = torch.zeros_like(dense)
    taken[targets, sources] = dense[targets, sources]
    return Nonzeros.of(dense - taken), taken.numpy()


def beside(left: Lines, right: Lines) -> Lines:
    """The columns of two sparse matrices, those of `right` behind those of `left`."""
    return Lines(
        np.concatenate([left.starts, left.starts[-1] + right.starts[1:]]),
        np.concatenate([left.places, right.places]),
        np.concatenate([left.values, right.values]),
    )
