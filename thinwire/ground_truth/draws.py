"""Random pairs of prompts as token ids, no pair twice, in three disjoint splits."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from thinwire.tasks.task import SPLITS, Split
from thinwire.tasks.tokens import TaskTokens

N_PAIRS: dict[Split, int] = {"train": 192, "validation": 64, "test": 64}
N_SHIFTED = 64
N_WINDOWS = 256

Row = list[int]
DrawPair = Callable[[np.random.Generator], tuple[Row, Row]]
"""One pair, clean and corrupt, both equally long."""


def draw_splits(draw: DrawPair, answers: tuple[int, int], seed: int) -> dict[Split, TaskTokens]:
    """The splits of one task: none shares a pair with another."""
    pairs = _distinct(draw, sum(N_PAIRS.values()), seed)
    found: dict[Split, TaskTokens] = {}
    for split in SPLITS:
        found[split], pairs = _tokens(pairs[: N_PAIRS[split]], answers), pairs[N_PAIRS[split] :]
    return found


def draw_tokens(draw: DrawPair, answers: tuple[int, int], seed: int) -> TaskTokens:
    """Pairs for one use: shifted ones, or another task's."""
    return _tokens(_distinct(draw, N_SHIFTED, seed), answers)


def draw_windows(vocab_size: int, context: int, seed: int) -> Int[Tensor, "N window"]:
    """Text in which every token is equally likely, so that twins cancel."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocab_size, (N_WINDOWS, context + 1), generator=generator)


def _distinct(draw: DrawPair, n: int, seed: int) -> list[tuple[Row, Row]]:
    random = np.random.default_rng(seed)
    found: dict[tuple[tuple[int, ...], ...], tuple[Row, Row]] = {}
    while len(found) < n:
        clean, corrupt = draw(random)
        found.setdefault((tuple(clean), tuple(corrupt)), (clean, corrupt))
    return list(found.values())


def _tokens(pairs: list[tuple[Row, Row]], answers: tuple[int, int]) -> TaskTokens:
    clean, corrupt = zip(*pairs, strict=True)
    width = max(map(len, clean))

    def padded(rows: tuple[Row, ...]) -> np.ndarray:
        return np.array([row + [0] * (width - len(row)) for row in rows], dtype=np.int64)

    lengths = np.array([len(row) for row in clean], dtype=np.int64)
    return TaskTokens(padded(clean), padded(corrupt), lengths, lengths.copy(), *answers, ("first", "second"))
