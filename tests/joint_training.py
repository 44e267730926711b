"""Trains in several processes at once. Run as a program, see test_distributed.py.

    python joint_training.py CORPUS OUT

1. Joint steps against those of one process; OUT/steps.json gets the differences.
2. `thinwire train` with one and with two processes, resumed with as many and with others; see `train`.

The processes are forked with the environment that torchrun gives; a slow test uses torchrun itself.
"""

import json
import os
import shutil
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from thinwire.cli.main import main
from thinwire.data.batches import Batches
from thinwire.data.config import DataConfig
from thinwire.data.shards import prepare
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.training.config import RunConfig, TrainConfig
from thinwire.training.distributed import Processes, joined
from thinwire.training.loop import schedule, train_step
from thinwire.training.optimizer import SparseOptimizer

SMALL = [
    *("--model.vocab_size=288", "--model.d_model=32", "--model.context=16", "--model.n_layer=1", "--threads=1"),
    *("--train.n_tokens=2560", "--train.batch_size=8", "--train.density=0.2", "--data.heldout_frac=0.3"),
    *("--train.checkpoint_every_steps=5", "--train.eval_every_steps=7"),
]
N_STEPS = 20


def together(count: int, work: Callable[[], int]) -> list[int]:
    """Exit statuses of `count` processes that do `work` as one job."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pids = []
    for rank in range(count):
        if (pid := os.fork()) == 0:
            job = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
            os.environ |= {name: str(value) for name, value in job.items()}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            try:
                os._exit(work())
            except SystemExit as leaving:
                os._exit(leaving.code if isinstance(leaving.code, int) else 1)
            except BaseException:  # noqa: BLE001 - a child must not go on
                traceback.print_exc()
                os._exit(1)
        pids.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def compare_steps(corpus: str, out: Path) -> int:
    """Every joint step beside the same step of one process, from the same state. Writes what differs."""
    config = RunConfig(
        data=DataConfig(source=corpus, heldout_frac=0.3),
        model=ModelConfig(vocab_size=288, context=16, n_layer=2, d_model=32),
        train=TrainConfig(n_tokens=N_STEPS * 8 * 16, batch_size=8, density=0.2),
    )
    tokens = prepare(config.data, 288).train
    batches = Batches(tokens, 8, 16, 0)
    torch.manual_seed(0)
    model, alone = GPT(config.model), GPT(config.model)
    optimizer, alone_optimizer = (SparseOptimizer(m, 0.1, 4) for m in (model, alone))
    found = {"loss": 0.0, "rms": 0.0, "weight": 0.0, "swapped": 0, "entries": 0, "gap": 0.0}
    with joined(torch.device("cpu")) as processes:
        for step in range(N_STEPS):
            alone.load_state_dict(model.state_dict())
            if step:
                moments = {name: value.clone() for name, value in optimizer.state_tensors().items()}
                alone_optimizer.load_state_tensors(moments, step)
            rate, density = schedule(config, step)
            windows = batches.at(step)
            share = torch.from_numpy(processes.share(windows))
            loss, rms = train_step(model, optimizer, share, rate, density, 2, processes)
            one_loss, one_rms = train_step(alone, alone_optimizer, torch.from_numpy(windows), rate, density)
            found["loss"] = max(found["loss"], abs(loss - one_loss))
            found["rms"] = max(found["rms"], abs(rms / one_rms - 1))
            for a, b in zip(model.state_dict().values(), alone.state_dict().values(), strict=True):
                swapped = (a == 0) != (b == 0)
                found["swapped"] += int(swapped.sum())
                found["entries"] += a.numel()
                found["weight"] = max(found["weight"], float((a - b)[~swapped].abs().max()))
                if swapped.any():  # an entry in only one support is as small as the smallest kept ones
                    smallest = min(float(x[x != 0].abs().min()) for x in (a, b))
                    found["gap"] = max(found["gap"], float((a - b)[swapped].abs().max()) / smallest - 1)
            processes.check_same(list(model.parameters()))
        if processes.first:
            out.write_text(json.dumps(found))
    return 0


def command(corpus: str, out: Path, *more: str) -> int:
    code = main(["train", "--json", "--out", str(out), f"--data.source={corpus}", *SMALL, *more])
    return 0 if code == 1 else code  # 1: to the end, and has learned nothing of so few steps


def expect(statuses: list[int], expected: list[int]) -> None:
    if statuses != expected:
        sys.exit(f"exit statuses {statuses}, not {expected}")


def cut_back(source: Path, target: Path) -> Path:
    """A copy of a run that seems to have been killed after its last checkpoint but one."""
    shutil.copytree(source, target)
    shutil.rmtree(target / "checkpoints" / "step-00000020")
    return target


def train(corpus: str, out: Path) -> None:
    """one: one process. two: two of them. two-two, two-one, one-two: the second number resumes what the first began."""
    command(corpus, out / "one")
    expect(together(2, lambda: command(corpus, out / "two")), [0, 0])
    again = cut_back(out / "two", out / "two-two")
    expect(together(2, lambda: command(corpus, again, "--resume")), [0, 0])
    again = cut_back(out / "one", out / "one-two")
    expect(together(2, lambda: command(corpus, again, "--resume")), [0, 0])
    command(corpus, cut_back(out / "two", out / "two-one"), "--resume")
    expect(together(2, lambda: command(corpus, out / "two")), [2, 2])  # holds a run already
    expect(together(3, lambda: command(corpus, out / "three")), [2, 2, 2])  # 8 rows for 3 processes


def disagree() -> int:
    """Two processes whose weights differ in one bit."""
    with joined(torch.device("cpu")) as processes:
        weights = torch.ones(5)
        processes.check_same([weights])
        if isinstance(processes, Processes) and not processes.first:
            weights.view(torch.int32)[3] ^= 1
        try:
            processes.check_same([weights])
        except ValueError as error:
            return 2 if "no longer hold the same weights" in str(error) else 3
    return 0


if __name__ == "__main__":
    corpus, out = sys.argv[1], Path(sys.argv[2])
    train(corpus, out)
    expect(together(2, lambda: compare_steps(corpus, out / "steps.json")), [0, 0])
    expect(together(2, disagree), [2, 2])
