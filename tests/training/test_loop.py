"""The loop: accumulated gradients are the batch's, and a run that goes wrong stops, says so and keeps what was good."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from step_rows import step_row

from thinwire.cli.main import main
from thinwire.data.batches import Batches
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.progress import Advance
from thinwire.training import loop
from thinwire.training.checkpoint import TrainState, checkpoint_directories
from thinwire.training.config import RunConfig, TrainConfig
from thinwire.training.journal import Journal
from thinwire.training.loop import RECENT, Diverged, Speed, Training, check_step, schedule, train, train_step
from thinwire.training.metrics import StepRow, read_metrics
from thinwire.training.optimizer import SparseOptimizer

CONFIG = RunConfig(
    model=ModelConfig(vocab_size=64, context=8, n_layer=1, d_model=32),
    train=TrainConfig(n_tokens=8 * 12 * 20, batch_size=12, density=0.2, checkpoint_every_steps=6, eval_every_steps=5),
)
TOKENS = torch.randint(0, 64, (2000,), generator=torch.Generator().manual_seed(0)).numpy().astype("<u2")
START = TrainState(step=0, metrics_sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", threads=1)


def fresh(config: RunConfig = CONFIG) -> tuple[GPT, SparseOptimizer]:
    torch.manual_seed(0)
    model = GPT(config.model)
    return model, SparseOptimizer(model, config.train.weight_decay, config.train.min_per_line)


@pytest.mark.parametrize("micro_batches", [2, 3, 12])
def test_accumulated_gradients_are_those_of_the_whole_batch(micro_batches: int) -> None:
    """20 steps; before each the two models are made equal."""
    (model, optimizer), (other, other_optimizer) = fresh(), fresh()
    batches = Batches(TOKENS, 12, 8, 0)
    for step in range(20):
        other.load_state_dict(model.state_dict())
        if step:
            moments = {name: value.clone() for name, value in optimizer.state_tensors().items()}
            other_optimizer.load_state_tensors(moments, step)
        windows = torch.from_numpy(batches.at(step))
        rate, density = schedule(CONFIG, step)
        loss, rms = train_step(model, optimizer, windows, rate, density)
        again, again_rms = train_step(other, other_optimizer, windows, rate, density, micro_batches)
        assert loss == pytest.approx(again, rel=1e-6) and rms == pytest.approx(again_rms, rel=1e-5)
        for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
            swapped = (a == 0) != (b == 0)  # only entries at the threshold may change places
            assert int(swapped.sum()) <= 2
            assert torch.allclose(a[~swapped], b[~swapped], atol=5e-6)


def test_bfloat16_gives_nearly_the_same_step_and_leaves_the_weights_in_float32() -> None:
    (model, optimizer), (other, other_optimizer) = fresh(), fresh()
    windows = torch.from_numpy(Batches(TOKENS, 12, 8, 0).at(0))
    loss, rms = train_step(model, optimizer, windows, 1e-3, 0.5)
    again, again_rms = train_step(other, other_optimizer, windows, 1e-3, 0.5, precision="bfloat16")
    # bfloat16 keeps 8 bits: products are off by up to 1 in 256, so gradients differ, but by little.
    assert loss == pytest.approx(again, rel=2**-8) and rms == pytest.approx(again_rms, rel=0.05)
    assert rms != again_rms
    assert {value.dtype for value in other.parameters()} == {torch.float32}


def run(folder: Path, config: RunConfig = CONFIG) -> list[StepRow]:
    model, optimizer = fresh(config)
    windows = torch.from_numpy(Batches(TOKENS, 4, 8, 1).at(0))
    train(Training(folder, config, model, optimizer, TOKENS, windows, START))
    return read_metrics(folder / "metrics.jsonl")


def spoil(monkeypatch: pytest.MonkeyPatch, step: int, factor: float) -> None:
    """Let the loss of one step (from 1) come out multiplied."""
    real, calls = loop.next_token_loss, 0

    def loss(model: GPT, windows: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return real(model, windows) * (factor if calls == step else 1.0)

    monkeypatch.setattr(loop, "next_token_loss", loss)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    spoil(monkeypatch, 9, factor)
    with pytest.raises(Diverged) as error:
        run(tmp_path)
    assert str(error.value) == (
        f"loss {factor} at step 9 of {tmp_path}; the last good checkpoint is step 6; train into a new directory with a "
        f"train.learning_rate below 0.0128 or a train.warmup_frac above 0.01"
    )
    assert [row.step for row in read_metrics(tmp_path / "metrics.jsonl")] == list(range(1, 9))
    assert [path.name for path in checkpoint_directories(tmp_path)] == ["step-00000006"]


def test_before_the_first_checkpoint_it_says_that_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, 2, float("nan"))
    with pytest.raises(Diverged, match="loss nan at step 2 .*; there is no checkpoint yet; train into"):
        run(tmp_path)
    assert checkpoint_directories(tmp_path) == []


def test_a_heldout_loss_that_is_no_number_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "heldout_loss", lambda model, windows: float("nan"))
    with pytest.raises(Diverged, match="heldout_loss nan at step 5"):
        run(tmp_path)


def test_the_command_line_stops_with_one_line_and_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(monkeypatch, 2, float("nan"))
    for i in range(3):
        (tmp_path / f"m{i}.py").write_text(f"def f{i}(value):\n    return value + {i}\n\n" * 60)
    small = [
        "--train.density=0.2",
        "--model.vocab_size=270",
        "--model.d_model=32",
        "--model.context=16",
        "--model.n_layer=1",
    ]
    argv = ["train", "--out", str(tmp_path / "run"), f"--data.source={tmp_path}", "--train.n_tokens=9999", *small]
    assert main(argv) == 2
    err = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(err) == 1 and "loss nan at step 2" in err[0]


def test_a_device_that_is_too_small_says_what_to_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def too_much(model: GPT, windows: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(loop, "next_token_loss", too_much)
    for i in range(3):
        (tmp_path / f"m{i}.py").write_text(f"def f{i}(value):\n    return value + {i}\n\n" * 60)
    small = ["--train.density=0.2", "--model.vocab_size=270", "--model.d_model=32", "--model.context=16"]
    assert main(["train", "--out", str(tmp_path / "run"), f"--data.source={tmp_path}", *small]) == 2
    assert "the memory of cpu is too small; train into a new directory with train.micro_batches above 1" in (
        capsys.readouterr().err
    )


def journal_of(folder: Path, losses: list[float]) -> Journal:
    journal = Journal(folder, START)
    for step, loss in enumerate(losses, 1):
        journal.append(step_row(step, loss))
    return journal


def test_the_spike_guard_is_off_by_default_and_needs_a_history(tmp_path: Path) -> None:
    guarded = replace(CONFIG.train, spike_factor=2.0)
    journal = journal_of(tmp_path, [3.0] * RECENT)
    spike = step_row(RECENT + 1, 6.1)
    check_step(spike, journal, CONFIG.train)
    check_step(replace(spike, loss=5.9), journal, guarded)
    with pytest.raises(Diverged, match="loss 6.1 against 3, the mean of 100 steps, at step 101"):
        check_step(spike, journal, guarded)
    journal.close()
    journal = journal_of(tmp_path, [3.0] * (RECENT - 1))
    check_step(spike, journal, guarded)
    journal.close()


def test_the_guard_looks_at_the_last_steps_only(tmp_path: Path) -> None:
    journal = journal_of(tmp_path, [50.0] * 5 + [3.0] * RECENT)
    with pytest.raises(Diverged, match="against 3,"):
        check_step(step_row(1, 7.0), journal, replace(CONFIG.train, spike_factor=2.0))
    journal.close()


def test_every_step_has_its_row_and_some_have_more(tmp_path: Path) -> None:
    rows = run(tmp_path)
    assert [row.step for row in rows] == list(range(1, 21))
    assert [row.step for row in rows if row.heldout_loss is not None] == [5, 10, 15, 20]
    assert rows[-1].tokens == 20 * 12 * 8
    assert rows[-1].density == pytest.approx(0.2)


def test_the_bar_shows_speed_loss_density_and_rate_and_the_first_step_has_its_own(tmp_path: Path) -> None:
    """Compiling in the first step would say that hours are left."""
    shown: list[tuple[int, dict]] = []
    titles = []

    @contextmanager
    def progress(title: str, total: int, unit: str = "step") -> Iterator[Advance]:
        titles.append((title, total, unit))
        yield lambda steps=1, **values: shown.append((steps, values))

    model, optimizer = fresh()
    windows = torch.from_numpy(Batches(TOKENS, 4, 8, 1).at(0))
    train(Training(tmp_path, CONFIG, model, optimizer, TOKENS, windows, START, progress=progress))
    first = ("first step, which compiles kernels", 1, "step")
    assert titles == [first, (f"train {tmp_path.name}", 20, "step")]
    assert [steps for steps, _ in shown] == [1] * 21
    assert shown.pop(1) == (1, {})
    rows = read_metrics(tmp_path / "metrics.jsonl")
    for (_, values), row in zip(shown, rows, strict=True):
        assert values.keys() == {"loss", "density", "rate", "tokens/s"} and values["tokens/s"] > 0
        assert (values["loss"], values["density"], values["rate"]) == (
            row.loss,
            row.density,
            row.learning_rate,
        )


def test_shares_that_do_not_come_out_even_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size 12 is not a multiple of micro_batches 5"):
        replace(CONFIG.train, micro_batches=5)
    with pytest.raises(ValueError, match="spike_factor 0.5 is not above 1; 0 switches the guard off"):
        replace(CONFIG.train, spike_factor=0.5)


def test_speed_follows_the_last_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.0, 6.0])
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(clock))
    speed = Speed()
    assert speed.of(10) == 5.0  # 10 in 2 s
    assert speed.of(10) == pytest.approx(10 / 2.2)  # 0.9 x 2 s + 0.1 x 4 s
