"""Turned blocks equal numpy's transpose, whatever their shape, and nothing beside them is written."""

import numpy as np
import pytest

from thinwire.kernels.turning import TILE, turn, turn_back


@pytest.mark.parametrize("n_tokens", [1, 15, 16, 17, 48, 50])
@pytest.mark.parametrize("width", [1, 16, 24, 64, 67])
def test_turned_blocks_are_the_transpose(n_tokens: int, width: int) -> None:
    wide = np.random.default_rng(0).normal(size=(n_tokens, 80)).astype(np.float32)
    x = wide[:, 5 : 5 + width]
    out = np.full((width + 2, n_tokens + 3), 7, np.float32)
    turn(x, out)
    assert np.array_equal(out[:width, :n_tokens], x.T)
    assert (out[width:] == 7).all() and (out[:, n_tokens:] == 7).all()


@pytest.mark.parametrize("n_tokens", [1, 16, 35])
@pytest.mark.parametrize("width", [3, TILE])
def test_turned_back_they_are_the_block_again(n_tokens: int, width: int) -> None:
    totals = np.random.default_rng(0).normal(size=(TILE, n_tokens + 16)).astype(np.float32)
    y = np.full((n_tokens, 40), 7, np.float32)
    turn_back(totals, y[:, 8 : 8 + width])
    assert np.array_equal(y[:, 8 : 8 + width], totals[:width, :n_tokens].T)
    assert (y[:, :8] == 7).all() and (y[:, 8 + width :] == 7).all()
