"""A run that is no better than guessing by the frequency of tokens says so, and its exit status too."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from thinwire.cli.main import main
from thinwire.training.evaluate import unigram_loss


def test_the_unigrams_loss_by_hand() -> None:
    # Counts of tokens 0 to 3 in training text: 3, 1, 0, 0; one more each: 4/8, 2/8, 1/8, 1/8.
    train = np.array([0, 0, 0, 1], dtype=np.uint16)
    assert unigram_loss(train, torch.tensor([[9, 0, 0]]), 4) == pytest.approx(np.log(2))  # the first is no target
    # (ln 2 + ln 4 + ln 8 + ln 8) / 4
    assert unigram_loss(train, torch.tensor([[0, 0, 1, 2, 3]]), 4) == pytest.approx(2.25 * np.log(2))


def test_a_run_that_has_not_learned_says_so_and_exits_with_1(
    tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--model.vocab_size=300", "--model.d_model=32", "--model.context=16", "--train.density=0.2"]
    small += ["--train.batch_size=4", "--train.n_tokens=64", "--threads=1", f"--data.source={tiny_corpus}"]
    assert main(["train", "--out", str(tmp_path / "run"), *small]) == 1
    assert "This model has not learned: guessing by how often each token occurs does as well or better" in (
        " ".join(capsys.readouterr().out.split())
    )
    assert (tmp_path / "run" / "final.json").exists()


def test_a_run_that_has_learned_exits_with_0(
    tiny_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(tiny_path, tmp_path / "run")
    assert main(["train", "--out", str(run), "--resume", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["learned"] and found["heldout_loss"] < found["unigram_loss"]
