"""Prompts as a tree of distinct prefixes.

Attention is causal, so what a model computes at a position depends on the tokens up to it alone. Prompts of a task
share most of their beginnings; each distinct prefix is one row here and is computed once. Before the first attention
a row depends on its token alone (and on its position, where positions are embedded): these rows are the stems.

A tree by sides tells prefixes apart by the beginning of the pair's other side too: every row then has one partner on
the other side, whose activations can take its place.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from thinwire.circuits.prompts import Prompts


class Partners(NamedTuple):
    """Row on the pair's other side, for each row of a tree by sides."""

    stems: Int64[np.ndarray, " U"]
    prefixes: Int64[np.ndarray, " N"]
    prompts: Int64[np.ndarray, " P"]


@dataclass(frozen=True)
class PrefixTree:
    """P prompts as N distinct prefixes over U stems; T is the longest prompt."""

    tokens: Int64[np.ndarray, " U"]
    """Token of each stem."""
    positions: Int64[np.ndarray, " U"]
    """Position of each stem; 0 where the model embeds none."""
    stem: Int64[np.ndarray, " N"]
    """Stem row of each prefix's last token."""
    keys: Int64[np.ndarray, "N T"]
    """Prefix rows that each prefix attends to: its own beginnings, then itself; -1 behind them."""
    counts: Int64[np.ndarray, " N"]
    """Length of each prefix."""
    ends: Int64[np.ndarray, " P"]
    """Prefix row of each whole prompt."""
    sign: Float32[np.ndarray, " P"]
    """+1 where `answer` is right, -1 where `other` is."""
    answer: int
    other: int
    stem_ids: Int64[np.ndarray, " U"]
    """Row of each stem in the tree that this one was picked from; likewise for prefixes and prompts."""
    prefix_ids: Int64[np.ndarray, " N"]
    prompt_ids: Int64[np.ndarray, " P"]

    @classmethod
    def of(cls, prompts: Prompts, with_positions: bool, by_sides: bool = False) -> "PrefixTree":
        """The tree of all prompts. `with_positions` keeps stems of different positions apart."""
        tokens, lengths = prompts.tokens.cpu().numpy().astype(np.int64), prompts.lengths.cpu().numpy()
        n_tokens = int(tokens.max()) + 1
        if by_sides:
            tokens = tokens + n_tokens * np.roll(tokens, len(tokens) // 2, 0)
        chains = _chains(tokens, lengths)
        reached = chains >= 0
        first = np.unique(chains[reached], return_index=True)[1]
        row, column = (index[first] for index in np.nonzero(reached))
        token, position = tokens[row, column], column if with_positions else np.zeros_like(column)
        width = tokens.shape[1]
        stems, stem = np.unique(token * width + position, return_inverse=True)
        keys = np.where(np.arange(width) <= column[:, None], chains[row], -1)
        return cls(
            tokens=stems // width % n_tokens,
            positions=stems % width,
            stem=stem.astype(np.int64),
            keys=keys,
            counts=column + 1,
            ends=chains[np.arange(len(lengths)), lengths - 1],
            sign=prompts.sign.cpu().numpy(),
            answer=prompts.answer,
            other=prompts.other,
            stem_ids=np.arange(len(stems)),
            prefix_ids=np.arange(len(row)),
            prompt_ids=np.arange(len(lengths)),
        )

    @property
    def n_pairs(self) -> int:
        return len(self.ends) // 2

    @property
    def last_tokens(self) -> Int64[np.ndarray, " P"]:
        """Last token of each prompt."""
        return self.tokens[self.stem[self.ends]]

    def partners(self) -> Partners:
        """The other side's rows, of a tree by sides whose pairs have equally many tokens on both."""
        chains = self.keys[self.ends]
        others, there = np.roll(chains, self.n_pairs, 0), chains >= 0
        prefixes, stems = np.empty_like(self.stem), np.empty_like(self.tokens)
        prefixes[chains[there]] = others[there]
        stems[self.stem] = self.stem[prefixes]
        return Partners(stems, prefixes, np.roll(np.arange(len(self.ends)), self.n_pairs))

    def pairs(self, rows: Int64[np.ndarray, " n"]) -> "PrefixTree":
        """The tree of the pairs of the given numbers, both sides of each."""
        prompts = np.concatenate([rows, rows + self.n_pairs])
        chains = self.keys[self.ends[prompts]]
        prefixes, end = np.unique(chains, return_inverse=True)
        skip = int(prefixes[0] < 0)
        prefixes = prefixes[skip:]
        to_new = np.full(len(self.counts) + 1, -1)
        to_new[prefixes] = np.arange(len(prefixes))
        longest = int(self.counts[prefixes].max())
        stems, stem = np.unique(self.stem[prefixes], return_inverse=True)
        return PrefixTree(
            tokens=self.tokens[stems],
            positions=self.positions[stems],
            stem=stem.astype(np.int64),
            keys=to_new[self.keys[prefixes, :longest]],
            counts=self.counts[prefixes],
            ends=to_new[self.ends[prompts]],
            sign=self.sign[prompts],
            answer=self.answer,
            other=self.other,
            stem_ids=stems,
            prefix_ids=prefixes,
            prompt_ids=prompts,
        )


def _chains(tokens: np.ndarray, lengths: np.ndarray) -> Int64[np.ndarray, "P T"]:
    """Number of the prefix that ends at each position, -1 in the padding. Numbers rise with the prefix's length."""
    chains = np.full(tokens.shape, -1, np.int64)
    n_tokens, found = int(tokens.max()) + 1, 0
    for column in range(tokens.shape[1]):
        there = lengths > column
        before = chains[there, column - 1] + 1 if column else np.zeros(there.sum(), np.int64)
        names, number = np.unique(before * n_tokens + tokens[there, column], return_inverse=True)
        chains[there, column] = found + number
        found += len(names)
    return chains
