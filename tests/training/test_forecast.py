"""What a dry run foretells comes true: memory within 20 %, time within a factor."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_world import write_small_corpus

from thinwire.model.config import ModelConfig
from thinwire.training import forecast
from thinwire.training.config import RunConfig, TrainConfig
from thinwire.workflows.train import TimedPlan, dry_run, timed_dry_run

SMALL = RunConfig(
    model=ModelConfig(vocab_size=64, context=16, n_layer=3, d_model=32),
    train=TrainConfig(n_tokens=16 * 8 * 20, batch_size=8, density=0.2),
    threads=1,
)


def test_saved_bytes_are_counted_in_a_straight_line() -> None:
    """What three layers save for two windows is what one window of one and of two layers foretells."""
    real = forecast._saved(SMALL)
    assert forecast.saved_bytes(SMALL) == pytest.approx(real, rel=0.01)
    # at the very least every AbsTopK site keeps its mask of a byte per entry: 3 layers x (7 D + 4 D) x T
    assert real > 3 * 11 * 32 * 16


def test_memory_follows_windows_and_parameters() -> None:
    one = forecast.memory(SMALL, 1000)
    assert one["weights, gradients and moments"] == 16_000
    parts = [forecast.memory(replace(SMALL, train=replace(SMALL.train, micro_batches=n)), 1000) for n in (2, 4)]
    assert parts[0]["activations"] == pytest.approx(2 * parts[1]["activations"], rel=1e-6)
    assert one["activations"] > parts[0]["activations"] > one["activations"] / 2
    assert forecast.memory(SMALL, 1000, n_processes=4)["activations"] == pytest.approx(one["activations"] / 4, rel=1e-6)


def test_the_steps_of_the_mode_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for `certified`, whose cost depends on the weights: it is foretold as `exact`."""
    real, modes = forecast.optimizer_for, []
    monkeypatch.setattr(forecast, "optimizer_for", lambda model, train: modes.append(train.mode) or real(model, train))
    for mode in ("exact", "certified", "regrow"):
        assert forecast.seconds(replace(SMALL, train=replace(SMALL.train, mode=mode)), torch.device("cpu")) > 0
    assert modes == ["exact", "exact", "regrow"]


def test_time_is_that_of_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 4, 2 and 1 s: 1 % x 4 + 49 % x (4 + 2 x 2 + 1) / 4 + 50 % x 1 = 1.6425 s on average."""
    seen = []

    def fixed(config: RunConfig, device: torch.device, windows: int, shares: list[float], progress: object) -> list:
        seen.append((windows, shares))
        return [4.0, 2.0, 1.0]

    monkeypatch.setattr(forecast, "_step_seconds", fixed)
    cpu = torch.device("cpu")
    assert forecast.seconds(SMALL, cpu) == pytest.approx(20 * 1.6425)
    parts = replace(SMALL, train=replace(SMALL.train, micro_batches=4))
    assert forecast.seconds(parts, cpu) == pytest.approx(20 * 4 * 1.6425)
    long = replace(SMALL, model=replace(SMALL.model, context=2048))  # 8 windows, of which 2048 / 2048 = 1 is probed
    assert forecast.seconds(long, cpu) == pytest.approx(long.n_steps * 1.6425 * 8)
    assert [windows for windows, _ in seen] == [8, 2, 1]
    assert seen[0][1] == [0.0, pytest.approx(0.255), 1.0]


def test_a_dry_run_probes_only_when_asked_and_leaves_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    assert not isinstance(dry_run(SMALL), TimedPlan)
    assert (timed_dry_run(SMALL, "cpu").seconds or 0) > 0
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_does_not_fit_is_not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thinwire.workflows.train.memory_bytes", lambda: 1000)
    assert timed_dry_run(SMALL, "cpu").seconds is None


MEASURE = """
import json, sys, time
from dataclasses import asdict
from pathlib import Path
from thinwire.training.config_file import from_yaml
from thinwire.workflows.train import dry_run, timed_dry_run, train

def status(key):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(key))

config = from_yaml(Path(sys.argv[1]).read_text(), Path(sys.argv[1]))
warm = from_yaml(Path(sys.argv[2]).read_text(), Path(sys.argv[2]))
train(warm, Path(sys.argv[3] + "-warm"))
plan = timed_dry_run(config, "cpu") if len(sys.argv) > 4 else dry_run(config)
Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
before = status("VmRSS")
result = train(config, Path(sys.argv[3]))
print(json.dumps({"plan": asdict(plan), "growth": status("VmHWM") - before, "seconds": result.seconds}))
"""


def measured(config: RunConfig, folder: Path, *more: str) -> dict:
    """Forecast and truth of one training in a process of its own."""
    from thinwire.training.config_file import to_yaml

    source = write_small_corpus(folder / "corpus", n_functions=120)
    data = replace(config.data, source=str(source), heldout_frac=0.3)
    warm = replace(SMALL, data=data, model=replace(SMALL.model, vocab_size=300))
    for name, each in (("real", replace(config, data=data)), ("warm", warm)):
        (folder / f"{name}.yaml").write_text(to_yaml(each))
    command = [
        sys.executable,
        "-c",
        MEASURE,
        *(str(folder / name) for name in ("real.yaml", "warm.yaml", "run")),
        *more,
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"NUMBA_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("d_model", "n_layer", "context", "batch_size", "micro_batches", "activation_frac", "density"),
    [(256, 2, 64, 64, 1, 0.25, 0.05), (128, 3, 128, 64, 2, 0.25, 0.1), (512, 2, 64, 16, 1, 1.0, 1.0)],
)
def test_memory_is_foretold_within_20_percent(
    tmp_path: Path, d_model: int, n_layer: int, context: int, batch_size: int, micro_batches: int,
    activation_frac: float, density: float,
) -> None:  # fmt: skip
    model = ModelConfig(300, context, n_layer, d_model, activation_frac=activation_frac)
    train = TrainConfig(
        n_tokens=4 * batch_size * context, batch_size=batch_size, micro_batches=micro_batches, density=density
    )
    found = measured(RunConfig(model=model, train=train, threads=1), tmp_path)
    foretold = sum(found["plan"]["memory_bytes"].values())
    assert foretold == pytest.approx(found["growth"], rel=0.2)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_time_is_foretold_within_a_factor_of_two(tmp_path: Path) -> None:
    """A busy machine is no failure: a wrong unit or a forgotten factor would be."""
    model = ModelConfig(300, 64, 2, 128)
    train = TrainConfig(n_tokens=40 * 32 * 64, batch_size=32, density=0.1, eval_every_steps=1000)
    found = measured(RunConfig(model=model, train=train, threads=1), tmp_path, "probe")
    assert found["plan"]["seconds"] / 2 < found["seconds"] < 2 * found["plan"]["seconds"]
