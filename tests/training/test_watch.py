"""TensorBoard and W&B are told what metrics.jsonl holds, and training does not notice."""

import builtins
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from step_rows import step_row

from thinwire.errors import UserError
from thinwire.training.config import RunConfig
from thinwire.training.watchers import WATCHERS, watching

ROWS = [step_row(step, 4.0 / step, seconds=step * 1.5) for step in range(1, 7)]


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Importing any of `modules` fails, as if its extra were not installed."""
    real = builtins.__import__

    def refuse(name: str, globals: Mapping[str, Any] | None = None, *rest: Any, **more: Any) -> Any:
        if name.startswith(modules):
            raise ImportError(name)
        return real(name, globals, *rest, **more)

    for name in [name for name in sys.modules if name.startswith(modules)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")])
def test_a_watcher_that_is_not_installed_says_how_to_get_it(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, module)
    expected = rf"--watch {name} needs {name}; install what it needs with: .* -m pip install .*\[{name}\]'"
    with pytest.raises(UserError, match=expected), watching([name], tmp_path, RunConfig(), 0):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_watcher_names_those_there_are(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="unknown watcher 'eye'; there are: tensorboard, wandb"),
        watching(["eye"], tmp_path, RunConfig(), 0),
    ):
        raise AssertionError


def test_all_watchers_see_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import contextmanager

    seen: dict[str, list] = {}

    def recorder(name: str) -> Any:
        @contextmanager
        def open_one(run: Path, config: RunConfig, first_step: int) -> Any:
            seen[name] = [first_step]
            yield seen[name].append
            seen[name].append("closed")

        return open_one

    monkeypatch.setattr("thinwire.training.watchers.WATCHERS", {"a": recorder("a"), "b": recorder("b")})
    with watching(["a", "b"], tmp_path, RunConfig(), 3) as watch:
        watch(ROWS[3])
    assert seen == {"a": [3, ROWS[3], "closed"], "b": [3, ROWS[3], "closed"]}
    assert set(WATCHERS) == {"tensorboard", "wandb"}


READ_EVENTS = """
import json, sys, warnings
warnings.simplefilter("ignore")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1]).Reload()
print(json.dumps({tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}))
"""
WRITE = """
import sys
from pathlib import Path
from thinwire.training.config import RunConfig
from thinwire.training.metrics import StepRow
from thinwire.training.watchers import watching
name, run, first, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
with watching([name], run, RunConfig(), first) as watch:
    for step in range(first + 1, last + 1):
        numbers = {"density": 0.5, "learning_rate": 0.1, "grad_rms": 1.0, "seconds": step / 2}
        watch(StepRow(step=step, tokens=8 * step, loss=4.0 / step, **numbers))
"""


def python(program: str, *arguments: object) -> str:
    """Output of a program in a process of its own: neither package minds its warnings."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"WANDB_SILENT": "true"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_tensorboard_holds_every_number_and_forgets_what_a_resume_takes_back(tmp_path: Path) -> None:
    import json

    python(WRITE, "tensorboard", tmp_path, 0, 5)
    python(WRITE, "tensorboard", tmp_path, 3, 6)  # resumed from a checkpoint at step 3
    events = json.loads(python(READ_EVENTS, tmp_path / "tensorboard").splitlines()[-1])
    assert events["train/loss"] == [[step, pytest.approx(4.0 / step)] for step in range(1, 7)]
    assert events["train/density"] == [[step, 0.5] for step in range(1, 7)]
    numbers = ("tokens", "loss", "density", "learning_rate", "grad_rms", "seconds")
    assert set(events) == {f"train/{name}" for name in numbers}


@pytest.mark.slow
def test_the_command_line_opens_watchers_and_training_does_not_notice(tmp_path: Path) -> None:
    import json

    for i in range(4):
        (tmp_path / f"m{i}.py").write_text(f"def f{i}(value):\n    return value + {i}\n\n" * 60)
    small = ["--train.density=0.2", "--model.vocab_size=270", "--model.d_model=32", "--model.context=16"]
    small += ["--train.n_tokens=640", "--train.batch_size=8", "--threads=1", f"--data.source={tmp_path}"]
    for name, more in (("seen", ["--watch", "tensorboard"]), ("unseen", [])):
        command = [sys.executable, "-m", "thinwire", "train", "--out", str(tmp_path / name), *small, *more]
        done = subprocess.run(command, capture_output=True)
        assert done.returncode in (0, 1), done.stderr  # 1: of so few steps it has learned nothing
        assert (tmp_path / name / "final.json").exists(), done.stderr
    events = json.loads(python(READ_EVENTS, tmp_path / "seen" / "tensorboard").splitlines()[-1])
    rows = [json.loads(line) for line in (tmp_path / "seen" / "metrics.jsonl").read_text().splitlines()]
    assert events["train/loss"] == [[row["step"], pytest.approx(row["loss"])] for row in rows]
    assert len(rows) == 5
    name = "checkpoints/step-00000005/model.safetensors"
    assert (tmp_path / "seen" / name).read_bytes() == (tmp_path / "unseen" / name).read_bytes()


READ_WANDB = """
import json, struct, sys, warnings
warnings.simplefilter("ignore")
from wandb.proto import wandb_internal_pb2
data, at, rows = open(sys.argv[1], "rb").read(), 7, []
while at + 7 <= len(data):  # checksum, length and kind (1: whole) before every record of a short file
    _, size, kind = struct.unpack("<IHB", data[at : at + 7])
    assert kind == 1
    record = wandb_internal_pb2.Record()
    record.ParseFromString(data[at + 7 : at + 7 + size])
    at += 7 + size
    if record.WhichOneof("record_type") == "history":
        items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        rows.append([record.history.step.num, items["loss"]])
print(json.dumps(rows))
"""


@pytest.mark.slow
def test_wandb_writes_an_offline_run(tmp_path: Path) -> None:
    import json

    python(WRITE, "wandb", tmp_path, 0, 5)
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    rows = json.loads(python(READ_WANDB, file).splitlines()[-1])
    assert rows == [[step, pytest.approx(4.0 / step)] for step in range(1, 6)]
