"""Rows of a run say what its mode did, and the summary adds them up."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from step_rows import step_row
from test_support_optimizer import TOKENS, fresh, go

from thinwire.data.batches import Batches
from thinwire.training import savings
from thinwire.training.checkpoint import TrainState
from thinwire.training.loop import Training, train
from thinwire.training.metrics import read_metrics
from thinwire.training.savings import Savings, summary

START = TrainState(step=0, metrics_sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", threads=1)


def test_spared_gradients_are_priced_by_shape_and_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 s a matrix for 1024 tokens; a step of 512 tokens spares 1 s each for 6 of 7: the unembedding has its turn."""
    timed = []
    monkeypatch.setattr(savings, "spared_seconds", lambda matrix: timed.append(matrix.shape) or 2.0)
    model, optimizer, config = fresh("regrow")
    adding = Savings(tokens=512, so_far=10.0)
    go(model, optimizer, config, 0, 5)
    assert adding.after(optimizer.held) == 10.0  # all is computed still
    go(model, optimizer, config, 5, 40)
    assert [adding.after(optimizer.held), adding.after(optimizer.held)] == [16.0, 22.0]
    assert sorted(timed) == [(32, 32), (32, 128), (128, 32)]


def test_the_time_of_a_dense_gradient_is_measured() -> None:
    model, optimizer, config = fresh("regrow")
    go(model, optimizer, config, 0, 39)
    assert abs(savings.spared_seconds(optimizer.held[1])) < 1.0


def test_the_summary_adds_up_the_rows() -> None:
    plain = step_row(1)
    rows = [
        replace(plain, spared_rows=0.0),
        replace(plain, spared_rows=1.0, exchanges=0, seconds_saved=1.0),
        replace(plain, spared_rows=0.5, exchanges=6, norm_error=0.3, seconds_saved=1.5),
        replace(plain, spared_rows=0.5, exchanges=0, norm_error=-0.4, seconds_saved=2.0),
    ]
    found = summary(rows)
    assert found == {
        "followed_steps": 3,
        "spared_rows": 0.5,  # 2 / 4
        "exchanges": 2.0,  # 6 / 3
        "norm_error": pytest.approx(0.125**0.5),  # (0.09 + 0.16) / 2
        "seconds_saved": 2.0,
    }
    assert summary([plain]) == {} == summary([])


def test_a_run_writes_them(tmp_path: Path) -> None:
    model, optimizer, config = fresh("regrow")
    windows = torch.from_numpy(Batches(TOKENS, 4, 8, 1).at(0))
    train(Training(tmp_path, config, model, optimizer, TOKENS, windows, START))
    rows = read_metrics(tmp_path / "metrics.jsonl")
    saved = [row.seconds_saved or 0.0 for row in rows]
    assert saved == sorted(saved)
    assert 0.3 < summary(rows)["spared_rows"] < 0.8 and summary(rows)["followed_steps"] > 30
    assert all(module.support is None for module in model.modules() if hasattr(module, "support"))
