"""A model that reads tokens as they come: weights by their nonzeros, keys and values of earlier tokens kept.

The same formulas as `model.gpt`, on CPU, without gradients and hooks; `model(tokens)` is the reference that tests hold
it to. Rows are tokens, of any number of sequences side by side and without padding: what is computed for a row does not
depend on the others, so that a sequence has the same logits, bit for bit, alone and in any company.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from thinwire.inference.alone import Alone
from thinwire.inference.parts import Builder
from thinwire.inference.weights import Weights
from thinwire.kernels.decoding import add_lines, attend
from thinwire.model.config import ModelConfig


@dataclass(frozen=True)
class KVCache:
    """Keys and values of what some sequences have read."""

    keys: Float[np.ndarray, "L places K H"]
    values: Float[np.ndarray, "L places K H"]
    first: Int[np.ndarray, " n"]
    """The first place of every sequence."""
    rooms: Int[np.ndarray, " n"]
    """The number of its places."""
    lengths: Int[np.ndarray, " n"]
    """Tokens that it has read; changes as they are read."""
    whole: "KVCache | None" = None
    """What the whole model has read, where a circuit takes its norms."""


class _Rows(NamedTuple):
    """Tokens that are read at once, sequence after sequence."""

    tokens: np.ndarray
    positions: np.ndarray
    first: np.ndarray
    """Place of the first token of the row's sequence."""
    last: np.ndarray
    """Place of the row's own."""
    ends: np.ndarray
    """Rows of the last token of every sequence."""


class Decoder:
    """The whole model or, with `alone`, one of its circuits. Immutable: what was read lies in a `KVCache`."""

    def __init__(self, config: ModelConfig, weights: Weights, alone: Alone | None = None) -> None:
        """`weights` fit `config` (`inference.weights.check_weights`) and are not written to."""
        build = Builder(config, weights, alone)
        positions = build.positions()
        self.config = config
        self._embed, self._embedded = build.table("embed.weight"), build.embedded()
        self._positions = None if config.variant.d_positions else positions
        self._blocks = [build.block(layer) for layer in range(config.n_layer)]
        self._final, self._unembed = build.final(), build.unembed()
        self._bigram = build.table("bigram") if config.bigram else None
        self._whole = Decoder(config, weights) if alone is not None and not alone.own_scales else None

    def start(self, rooms: Sequence[int]) -> KVCache:
        """An empty cache for sequences of up to so many tokens. Raises `ValueError` for more than the context."""
        config = self.config
        if not rooms:
            raise ValueError("there is no sequence to make room for")
        if any(room > config.context for room in rooms):
            raise ValueError(f"room for {max(rooms)} tokens is more than the context {config.context}")
        ends = np.cumsum(rooms, dtype=np.int64)
        places = (config.n_layer, int(ends[-1]), config.d_head, config.n_head)
        sizes = np.array(rooms, np.int64)
        return KVCache(
            np.empty(places, np.float32),
            np.empty(places, np.float32),
            ends - sizes,
            sizes,
            np.zeros(len(rooms), np.int64),
            self._whole.start(rooms) if self._whole else None,
        )

    def read(self, cache: KVCache, new: Mapping[int, Sequence[int]]) -> Float[np.ndarray, "n V"]:
        """Logits after the last of the tokens that each sequence, named by its number, goes on with.

        Raises `ValueError` for tokens that are none, for a sequence without any and for one that its room cannot hold.
        """
        rows = self._rows(cache, new)
        scales = None
        if self._whole is not None and cache.whole is not None:
            _, scales = self._whole._run(cache.whole, rows, None)
        final, _ = self._run(cache, rows, scales)
        logits = self._unembed(final)
        if self._bigram is not None:
            add_lines(rows.tokens[rows.ends], self._bigram, logits)
        for one in (cache, cache.whole):
            if one is not None:
                one.lengths[list(new)] += [len(tokens) for tokens in new.values()]
        return logits

    def _rows(self, cache: KVCache, new: Mapping[int, Sequence[int]]) -> _Rows:
        numbers, counts = np.array(list(new)), np.array([len(tokens) for tokens in new.values()])
        if not counts.all() or not counts.size:
            raise ValueError("there is no token to read")
        tokens = np.concatenate([np.asarray(tokens, np.int64) for tokens in new.values()])
        if tokens.min() < 0 or tokens.max() >= self.config.vocab_size:
            raise ValueError(f"tokens are not all in 0..{self.config.vocab_size - 1}")
        if (cache.lengths[numbers] + counts > cache.rooms[numbers]).any():
            raise ValueError("a sequence has no room for more tokens")
        ends = np.cumsum(counts)
        positions = np.arange(ends[-1]) - np.repeat(ends - counts - cache.lengths[numbers], counts)
        first = np.repeat(cache.first[numbers], counts)
        return _Rows(tokens, positions, first, first + positions, ends - 1)

    def _run(
        self, cache: KVCache, rows: _Rows, frozen: list[np.ndarray] | None
    ) -> tuple[Float[np.ndarray, "n D"], list[np.ndarray]]:
        """(what the unembedding reads at the last tokens, the scales of all norms); `frozen` are used where given."""
        scales: list[np.ndarray] = []

        def given() -> np.ndarray | None:
            return frozen[len(scales)] if frozen else None

        x = np.zeros((len(rows.tokens), self.config.d_model), np.float32)  # (rows, D)
        add_lines(rows.tokens, self._embed, x)
        self._embedded(x, *([] if self._positions is None else [self._positions[rows.positions]]))
        for layer, block in enumerate(self._blocks):
            if block.pre is not None:
                block.pre(x)
            h, scale = block.attn_in(x, rows.positions, given())  # (rows, R)
            scales.append(scale)
            keys, values, n_head = cache.keys[layer], cache.values[layer], self.config.n_head
            keys[rows.last], values[rows.last] = by_channel(block.k(h), n_head), by_channel(block.v(h), n_head)
            mixed = attend(by_channel(block.q(h), n_head), keys, values, rows.first, rows.last, block.sinks)
            block.mid(x, block.attn_out(by_head(*mixed)))
            h, scale = block.mlp_in(x, rows.positions, given())
            scales.append(scale)
            block.post(x, block.mlp_out(block.neuron(h)))
        final, scale = self._final(x[rows.ends], rows.positions, given())
        return final, [*scales, scale]


def by_channel(x: Float[np.ndarray, "rows W"], n_head: int) -> Float[np.ndarray, "rows K H"]:
    """The heads of a channel side by side, where they lay one after the other."""
    return np.ascontiguousarray(x.reshape(len(x), n_head, -1).transpose(0, 2, 1))


def by_head(x: Float[np.ndarray, "rows K H"], gains: Float[np.ndarray, "rows H"]) -> Float[np.ndarray, "rows W_and_H"]:
    """Inverse of `by_channel`, with the gain of every head behind it."""
    return np.concatenate([x.transpose(0, 2, 1).reshape(len(x), -1), gains], axis=1)
