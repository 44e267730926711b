"""Checkpoints are whole, checked, few, and never stand in the way of what comes after them."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

import thinwire.storage.tensors
from thinwire.cli.main import main
from thinwire.errors import CorruptFile, MissingFile
from thinwire.storage.tensors import read_tensors, write_tensors
from thinwire.training.checkpoint import checkpoint_directories, latest_checkpoint, read_state, remove_leftovers
from thinwire.training.metrics import MetricsLog

ENDED = (0, 1)
"""A training that came to its end: of so few steps it has learned nothing, and says so with 1."""
SMALL = [
    *("--model.vocab_size=288", "--model.d_model=32", "--model.context=16", "--model.n_layer=1", "--threads=1"),
    *("--train.n_tokens=1280", "--train.batch_size=8", "--train.density=0.2", "--data.heldout_frac=0.3"),
    "--train.checkpoint_every_steps=4",
]
"""10 steps, checkpoints at 4, 8 and 10."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, small_corpus: Path) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main(["train", "--out", str(out), "--json", f"--data.source={small_corpus}", *SMALL]) in ENDED
    return out


@pytest.fixture
def stopped(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run whose last checkpoint is gone, as if it had been killed in step 9."""
    out = tmp_path / "stopped"
    shutil.copytree(finished, out)
    shutil.rmtree(out / "checkpoints" / "step-00000010")
    return out


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line on stderr with which a command line is refused."""
    capsys.readouterr()
    assert main(list(argv)) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("thinwire: error: ")]
    assert out == "" and len(lines) == 1
    return lines[0]


def weights(run: Path) -> bytes:
    return (run / "checkpoints" / "step-00000010" / "model.safetensors").read_bytes()


def test_only_the_last_two_stay(finished: Path) -> None:
    assert [path.name for path in checkpoint_directories(finished)] == ["step-00000008", "step-00000010"]
    assert sorted(os.listdir(finished / "checkpoints")) == ["step-00000008", "step-00000010"]
    assert read_state(latest_checkpoint(finished)).step == 10


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_a_damaged_checkpoint_says_how_to_go_on_and_that_works(
    stopped: Path, finished: Path, name: str, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    last = stopped / "checkpoints" / "step-00000008"
    shutil.copytree(last, last.with_name("step-00000009"))
    damage(last.with_name("step-00000009") / name)
    message = refused(capsys, "train", "--out", str(stopped), "--resume")
    assert f"remove {last.with_name('step-00000009')} to resume from the checkpoint before it" in message
    shutil.rmtree(last.with_name("step-00000009"))
    assert main(["train", "--out", str(stopped), "--resume", "--json"]) in ENDED
    assert weights(stopped) == weights(finished)


def test_without_a_finished_model_other_verbs_say_how_to_get_one(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = f"stopped at step 8 of 10; finish it with: thinwire train --resume --out {stopped}"
    assert expected in refused(capsys, "eval", str(stopped))
    shutil.rmtree(stopped / "checkpoints")
    expected = f"holds no checkpoint; train it with: thinwire train --resume --out {stopped}"
    assert expected in refused(capsys, "eval", str(stopped))


def test_without_any_checkpoint_training_starts_at_the_first_step(stopped: Path, finished: Path) -> None:
    shutil.rmtree(stopped / "checkpoints")
    assert main(["train", "--out", str(stopped), "--resume", "--json"]) in ENDED
    assert weights(stopped) == weights(finished)


def test_resuming_where_nothing_is_starts_what_was_asked_for_and_nothing_else(
    finished: Path, small_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A call that was stopped while it read the corpus has left no run; its hint says --resume all the same."""
    assert "nowhere holds no run" in refused(capsys, "train", "--out", str(tmp_path / "nowhere"), "--resume")
    assert (
        main(["train", "--out", str(tmp_path / "new"), "--resume", "--json", f"--data.source={small_corpus}", *SMALL])
        in ENDED
    )
    assert weights(tmp_path / "new") == weights(finished)


@pytest.mark.parametrize("name", ["config.yaml", "corpus.json", "tokenizer.json", "manifest.json"])
def test_a_damaged_run_directory_is_named(stopped: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (stopped / name).write_bytes(b"\xff" + (stopped / name).read_bytes()[1:])
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    message = refused(capsys, "train", "--out", str(stopped), "--resume")
    assert str(stopped / name) in message and "restore it" in message
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


def test_damaged_metrics_are_named_and_nothing_is_cut(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = stopped / "metrics.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"step": 5', b'"step": 6'))
    before = path.read_bytes()
    message = refused(capsys, "train", "--out", str(stopped), "--resume")
    assert f"{path} was altered before its last checkpoint; restore it, or train into a new directory" in message
    assert path.read_bytes() == before


def test_a_changed_corpus_is_noticed(stopped: Path, small_corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small_corpus / "new.py").write_text("x = 1\n")
    try:
        message = refused(capsys, "train", "--out", str(stopped), "--resume")
    finally:
        (small_corpus / "new.py").unlink()
    assert f"the corpus has changed since {stopped} was started; restore it, or train into a new directory" in message


def fails(function: Callable[..., None], n: int, error: Exception) -> Callable[..., None]:
    """`function`, which fails at its `n`-th call (from 1) after it wrote something."""
    calls = 0

    def counted(*args: object) -> None:
        nonlocal calls
        calls += 1
        if calls == n:
            if isinstance(args[-1], Path):
                args[-1].write_bytes(b"half")
            raise error
        function(*args)

    return counted


DISK_FULL = OSError(errno.ENOSPC, "No space left on device")
RUST_DISK_FULL = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("what", ["weights", "moments", "metrics"])
def test_a_full_disk_ends_in_one_line_and_the_run_goes_on_later(
    what: str, finished: Path, small_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fifth tensors are weights at step 10, the fourth the moments at step 8."""
    out = tmp_path / "run"
    save = thinwire.storage.tensors.save_file
    with pytest.MonkeyPatch.context() as patch:
        if what == "metrics":
            patch.setattr(MetricsLog, "append", fails(MetricsLog.append, 7, DISK_FULL))
        else:
            failing = fails(save, 5 if what == "weights" else 4, RUST_DISK_FULL)
            patch.setattr(thinwire.storage.tensors, "save_file", failing)
        message = refused(capsys, "train", "--out", str(out), f"--data.source={small_corpus}", *SMALL)
    assert "disk full: free space in" in message and message.endswith("--resume")
    left = {"weights": ["step-00000004", "step-00000008"], "moments": ["step-00000004"], "metrics": ["step-00000004"]}
    assert sorted(os.listdir(out / "checkpoints")) == left[what]
    assert main(["train", "--out", str(out), "--resume", "--json"]) in ENDED
    assert weights(out) == weights(finished)


def test_a_full_disk_before_the_first_step_leaves_nothing(
    small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("thinwire.runs.run.write_atomic", fails(lambda *_: None, 2, DISK_FULL))
    assert "disk full" in refused(
        capsys, "train", "--out", str(tmp_path / "run"), f"--data.source={small_corpus}", *SMALL
    )
    assert list(tmp_path.iterdir()) == []


def test_bad_corpora_and_vocabularies_leave_nothing(
    small_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, empty, binary = tmp_path / "run", tmp_path / "empty", tmp_path / "binary"
    empty.mkdir()
    binary.mkdir()
    (binary / "a.py").write_bytes(b"\x00\x01")
    for source, message in ((empty, "holds no text files"), (binary, "1 binary or empty left out")):
        assert message in refused(capsys, "train", "--out", str(out), f"--data.source={source}", *SMALL)
    wide = ["--model.vocab_size=40000"]
    message = refused(capsys, "train", "--out", str(out), f"--data.source={small_corpus}", *SMALL, *wide)
    assert "the corpus yields only" in message
    long = ["--model.context=100000"]
    message = refused(capsys, "train", "--out", str(out), f"--data.source={small_corpus}", *SMALL, *long)
    assert "fewer than one window of context 100000 + 1" in message
    assert not out.exists()


def test_tensors_survive_the_file_and_errors_of_the_disk_are_errors_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thinwire.storage.files import seal

    tensors = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor([-0.0, float("inf")])}
    write_tensors(tmp_path / "t.safetensors", tensors)
    seal(tmp_path, ["t.safetensors"])
    again = read_tensors(tmp_path, "t.safetensors")
    assert all(torch.equal(again[name], tensors[name]) for name in tensors) and again.keys() == tensors.keys()
    monkeypatch.setattr(thinwire.storage.tensors, "save_file", fails(lambda *_: None, 1, RUST_DISK_FULL))
    with pytest.raises(OSError, match="u.safetensors") as error:
        write_tensors(tmp_path / "u.safetensors", tensors)
    assert error.value.errno == errno.ENOSPC
    assert sorted(os.listdir(tmp_path)) == ["manifest.json", "t.safetensors"]


def test_leftovers_of_a_kill_are_removed_and_checkpoints_are_not(tmp_path: Path) -> None:
    for name in (".step-00000004.x1.tmp", ".step-00000002.old.tmp", "step-00000003"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "file").write_text("x")
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path / "checkpoints") == ["step-00000003"]


def test_a_run_without_checkpoints_or_with_another_state_says_so(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="holds no checkpoint; train it with"):
        latest_checkpoint(tmp_path)
    from thinwire.storage.files import add_sealed

    copy = tmp_path / "step-00000008"
    shutil.copytree(latest_checkpoint(finished), copy)
    add_sealed(copy, "state.json", '{"steps": 8}')
    with pytest.raises(CorruptFile, match="unknown keys: steps"):
        read_state(copy)
