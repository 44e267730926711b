"""How much of the held-out text stands in training text, word for word.

A held-out window is a run of 32 tokens inside one document. It is shared where the same 32 tokens stand anywhere in the
training stream: licences, imports, copied functions. Windows are compared by 64-bit hashes, so that one in some 10^12
comparisons may be wrong. Memory grows with the held-out text alone, of which the first 4 million tokens are judged.

Deduplication cuts out of the held-out text every token of a shared window; what is left of a document between the cuts
becomes a document of its own, if it has 32 tokens or more. No window of the result is shared.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt16, UInt64

from thinwire.progress import Progress, silent

WINDOW = 32
"""Tokens; a power of two."""
JUDGED_TOKENS = 1 << 22
"""Held-out tokens that are judged."""
_CHUNK = 1 << 20
_BASE = 0x9E3779B97F4A7C15
_BITS = 24
"""Bits of a hash that are looked up before the hash itself."""


@dataclass(frozen=True)
class Overlap:
    """Held-out windows of one stream, and which of them occur in training."""

    starts: Int64[np.ndarray, " n"]
    """Where the windows start."""
    shared: Bool[np.ndarray, " n"]

    @property
    def share(self) -> float:
        """Share of windows that occur in training; 0 where there are none."""
        return float(self.shared.mean()) if len(self.shared) else 0.0


def find_overlap(
    train: UInt16[np.ndarray, " n_train"],
    heldout: UInt16[np.ndarray, " n_heldout"],
    end_of_text: int,
    progress: Progress = silent,
) -> Overlap:
    """Compare all windows of the judged held-out tokens with all of the training tokens."""
    heldout = np.asarray(heldout[:JUDGED_TOKENS])
    starts = window_starts(heldout, end_of_text)
    hashes = _hashes(heldout)[starts]
    wanted = np.unique(hashes)
    found = np.zeros(len(wanted), dtype=bool)
    is_wanted = np.zeros(1 << _BITS, dtype=bool)
    is_wanted[wanted >> np.uint64(64 - _BITS)] = True
    with progress("compare with held-out", total=len(train), unit="token") as advance:
        for start in range(0, len(train), _CHUNK):
            chunk = np.asarray(train[start : start + _CHUNK + WINDOW - 1])
            own = _hashes(chunk)
            own = own[is_wanted[own >> np.uint64(64 - _BITS)]]
            places = np.minimum(np.searchsorted(wanted, own), len(wanted) - 1)
            found[places[wanted[places] == own]] = True
            advance(min(_CHUNK, len(train) - start))
    return Overlap(starts, found[np.searchsorted(wanted, hashes)])


def window_starts(tokens: UInt16[np.ndarray, " n"], end_of_text: int) -> Int64[np.ndarray, " n_windows"]:
    """Where windows without an end of text start."""
    n_ends = np.concatenate([[0], np.cumsum(tokens == end_of_text)])
    return np.flatnonzero(n_ends[WINDOW:] == n_ends[:-WINDOW]) if len(tokens) >= WINDOW else np.empty(0, np.int64)


def deduplicated(
    heldout: UInt16[np.ndarray, " n"], overlap: Overlap, end_of_text: int
) -> UInt16[np.ndarray, " n_kept"]:
    """The judged held-out tokens without those of shared windows, each stretch followed by the end of text."""
    heldout = np.asarray(heldout[:JUDGED_TOKENS])
    covered = np.zeros(len(heldout) + 1, dtype=np.int64)
    np.add.at(covered, overlap.starts[overlap.shared], 1)
    np.add.at(covered, overlap.starts[overlap.shared] + WINDOW, -1)
    kept = (np.cumsum(covered)[:-1] == 0) & (heldout != end_of_text)
    edges = np.flatnonzero(np.diff(kept, prepend=False, append=False))
    stretches = [heldout[a:b] for a, b in edges.reshape(-1, 2) if b - a >= WINDOW]
    end = np.array([end_of_text], dtype=heldout.dtype)
    return np.concatenate([part for stretch in stretches for part in (stretch, end)]) if stretches else heldout[:0]


def _hashes(tokens: UInt16[np.ndarray, " n"]) -> UInt64[np.ndarray, " n_windows"]:
    """A hash of the window that starts at each token: of two halves h1 and h2 it is h1 base^length + h2."""
    if len(tokens) < WINDOW:
        return np.empty(0, dtype=np.uint64)
    hashes, length = _scrambled(tokens.astype(np.uint64)), 1
    while length < WINDOW:
        hashes = hashes[:-length] * np.uint64(pow(_BASE, length, 1 << 64)) + hashes[length:]
        length *= 2
    return _scrambled(hashes)


def _scrambled(values: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """One-to-one and seemingly random (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(_BASE)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
