"""Trains in child processes that are killed at chosen moments, then resumed. Run as a program, see test_resume.py.

    python killed_training.py CORPUS OUT MOMENT[,MOMENT...] [OPTION...]

First this process trains into OUT/whole. Then, for each moment, a child trains into OUT/MOMENT and is killed there,
and another one goes on with --resume. A moment `a+b` kills the first child at a, the resuming one at b. Options are
added to those of SMALL. Children are forked from this process, so that each costs little more than its training.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import thinwire.storage.tensors as storage_tensors
import thinwire.training.checkpoint as training_checkpoint
from thinwire.cli.main import main
from thinwire.training.metrics import MetricsLog, StepRow

SMALL = [
    *("--model.vocab_size=288", "--model.d_model=32", "--model.context=16", "--model.n_layer=1", "--threads=1"),
    *("--train.n_tokens=2560", "--train.batch_size=8", "--train.density=0.2", "--data.heldout_frac=0.3"),
    *("--train.checkpoint_every_steps=5", "--train.eval_every_steps=7"),
]
"""20 steps, checkpoints at 5, 10, 15 and 20, the last two of which stay."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fatal(function: Callable[..., Any], n: int, instead: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, but at its `n`-th call (from 1) `instead` and then death."""
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == n:
            instead(*args, **kwargs)
            die()
        return function(*args, **kwargs)

    return counted


def nothing(*args: Any, **kwargs: Any) -> None:
    return None


def half_of_a_line(log: MetricsLog, row: StepRow) -> None:
    log._file.write(b'{"step": 3, "tok')
    log._file.flush()


def half_of_a_file(tensors: dict[str, Any], path: Path, metadata: dict[str, str] | None = None) -> None:
    path.write_bytes(b"\x00" * 1000)


def one_file(directory: Path, **kwargs: Any) -> None:
    next(path for path in sorted(directory.iterdir()) if path.is_file()).unlink()


def prepare_death(moment: str) -> None:
    """Arrange for this process to die at a moment: kind and number, such as `replace7`."""
    kind, number = moment.rstrip("0123456789"), int("0" + moment.lstrip("abcdefghijklmnopqrstuvwxyz"))
    if kind == "replace":  # just before a file or directory gets its name
        os.replace = fatal(os.replace, number, nothing)
    elif kind == "row":
        MetricsLog.append = fatal(MetricsLog.append, number, half_of_a_line)  # pyright: ignore[reportAttributeAccessIssue]
    elif kind == "tensors":
        storage_tensors.save_file = fatal(storage_tensors.save_file, number, half_of_a_file)
    elif kind == "removal":  # while an old checkpoint is removed
        training_checkpoint.rmtree = fatal(training_checkpoint.rmtree, number, one_file)
    elif kind == "ms":
        if os.fork() == 0:
            time.sleep(number / 1000)
            os.kill(os.getppid(), signal.SIGKILL)
            os._exit(0)
    else:
        assert kind == "none"


def training(corpus: str, out: Path, resume: bool) -> int:
    """Exit code of one training."""
    options = [*SMALL, *sys.argv[4:], *["--resume"] * resume]
    code = main(["train", "--json", "--out", str(out), f"--data.source={corpus}", *options])
    return 0 if code == 1 else code  # 1: to the end, and has learned nothing of so few steps


def child(corpus: str, out: Path, resume: bool, moment: str) -> int:
    """Exit status of one training in a process of its own; -9 when it was killed."""
    if (pid := os.fork()) == 0:
        prepare_death(moment)
        os._exit(training(corpus, out, resume))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_all(corpus: str, out: Path, moments: list[str]) -> None:
    """Leaves by SystemExit when a process ends otherwise than it should."""
    training(corpus, out / "whole", resume=False)
    for moment in moments:
        for number, death in enumerate(moment.split("+")):
            status = child(corpus, out / moment, number > 0, death)
            if status != -9 and not (status == 0 and death.startswith("ms")):
                sys.exit(f"{moment}: exit status {status} at {death}")
        if status := child(corpus, out / moment, True, "none"):
            sys.exit(f"{moment}: exit status {status} after --resume")


if __name__ == "__main__":
    run_all(sys.argv[1], Path(sys.argv[2]), sys.argv[3].split(","))
