"""Batches as a pure function of (tokens, step, batch size, context, seed): resuming needs no replay.

1. An epoch tiles the stream with windows of T + 1 tokens at stride T, from an offset in 0..T-1 drawn from (seed,
   epoch): no token is a target twice, and the boundaries between windows move from epoch to epoch. Fewer than 2 T
   tokens at the two ends of the stream are left out.
2. An epoch visits its windows in a permutation drawn from (seed, epoch).
3. Every epoch has the same number of windows, so a step finds its windows by division. A batch that runs past the
   end of an epoch goes on into the next: no window is dropped.
"""

import numpy as np
from jaxtyping import Int64, Integer

from thinwire.errors import UserError

Stream = Integer[np.ndarray, " n_tokens"]


def n_windows(n_tokens: int, context: int) -> int:
    """Windows per epoch. Raises `UserError` if the stream is shorter than one window of context + 1 tokens."""
    if n_tokens < context + 1:
        raise UserError(
            f"the token stream has {n_tokens} tokens, fewer than one window of context {context} + 1; "
            f"use a larger corpus or a shorter context"
        )
    return max(1, n_tokens // context - 1)


def epoch_starts(n_tokens: int, context: int, seed: int, epoch: int) -> Int64[np.ndarray, " n_windows"]:
    """Where the windows of one epoch start, in the order of their visits."""
    count = n_windows(n_tokens, context)
    random = np.random.default_rng([seed, epoch])
    slack = n_tokens - 1 - count * context
    offset = random.integers(min(context - 1, slack), endpoint=True)
    return offset + context * random.permutation(count)


class Batches:
    """The batches of one stream, with the current epoch's permutation kept at hand.

    `at(step)` depends on nothing but its argument and those of the constructor, whatever was asked before. Raises
    `UserError` if the stream is shorter than one window or an argument is out of range.
    """

    def __init__(self, tokens: Stream, batch_size: int, context: int, seed: int) -> None:
        if batch_size < 1 or context < 1 or seed < 0:
            raise UserError(
                f"batch_size {batch_size}, context {context}, seed {seed}: the first two must be positive, "
                f"the seed not negative"
            )
        self.tokens = np.asarray(tokens)
        self.batch_size = batch_size
        self.context = context
        self.seed = seed
        self.n_windows = n_windows(len(tokens), context)
        """Windows per epoch."""
        self._current = (-1, np.empty(0, dtype=np.int64))

    def at(self, step: int) -> Int64[np.ndarray, "{self.batch_size} {self.context}+1"]:
        """The batch of step 0, 1, ...: shape (B, T + 1), inputs are [:, :-1] and targets [:, 1:]."""
        visits = step * self.batch_size + np.arange(self.batch_size)
        epochs, places = np.divmod(visits, self.n_windows)
        starts = np.empty(self.batch_size, dtype=np.int64)
        for epoch in range(epochs[0], epochs[-1] + 1):
            here = epochs == epoch
            starts[here] = self._starts(epoch)[places[here]]
        return _windows(self.tokens, starts, self.context)

    def _starts(self, epoch: int) -> Int64[np.ndarray, " n_windows"]:
        cached_epoch, starts = self._current
        if epoch != cached_epoch:
            starts = epoch_starts(len(self.tokens), self.context, self.seed, epoch)
            self._current = (epoch, starts)
        return starts


def batch_at(
    tokens: Stream, step: int, batch_size: int, context: int, seed: int
) -> Int64[np.ndarray, "{batch_size} {context}+1"]:
    """Reference for `Batches.at`: window by window, nothing kept. Shape (B, T + 1)."""
    count = n_windows(len(tokens), context)
    windows = []
    for visit in range(step * batch_size, (step + 1) * batch_size):
        start = epoch_starts(len(tokens), context, seed, visit // count)[visit % count]
        windows.append(tokens[start : start + context + 1])
    return np.array(windows, dtype=np.int64)


def heldout_windows(tokens: Stream, n_tokens: int, context: int) -> Int64[np.ndarray, "n_windows {context}+1"]:
    """Windows spread evenly over the whole stream, with at most `n_tokens` targets in all: shape (n, T + 1).

    No token is a target twice: a window's last target is at most the first input of the next. Fewer windows come
    back if the stream is shorter. Raises `UserError` if `n_tokens` or the stream is too short for one window.
    """
    if n_tokens < context:
        raise UserError(f"{n_tokens} held-out tokens are fewer than one window; use at least the context, {context}")
    n_windows(len(tokens), context)
    available = (len(tokens) - 1) // context
    count = min(available, n_tokens // context)
    starts = np.arange(count) * available // count * context
    return _windows(np.asarray(tokens), starts, context)


def _windows(
    tokens: Stream, starts: Int64[np.ndarray, " n_windows"], context: int
) -> Int64[np.ndarray, "n_windows {context}+1"]:
    return tokens[starts[:, None] + np.arange(context + 1)].astype(np.int64)
