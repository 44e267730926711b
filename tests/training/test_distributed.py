"""Several processes take the steps that one would take, and any of them may be lost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from thinwire.errors import UserError
from thinwire.runs.run import load_run
from thinwire.training.distributed import ALONE, BUCKET, Processes, _buckets

PROGRAM = Path(__file__).parents[1] / "joint_training.py"
FORKABLE = {"NUMBA_NUM_THREADS": "1", "NUMBA_THREADING_LAYER": "workqueue"}


@pytest.fixture(scope="module")
def joint(
    tmp_path_factory: pytest.TempPathFactory, small_corpus: Path
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Folder of the runs that joint_training.py makes, and what it said."""
    folder = tmp_path_factory.mktemp("joint")
    command = [sys.executable, str(PROGRAM), str(small_corpus), str(folder)]
    done = subprocess.run(command, env=os.environ | FORKABLE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, done


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "step-00000020" / "model.safetensors")


def same_bytes(a: Path, b: Path) -> bool:
    names = ("model.safetensors", "optimizer.safetensors", "state.json", "manifest.json")
    return all(
        (a / "checkpoints/step-00000020" / n).read_bytes() == (b / "checkpoints/step-00000020" / n).read_bytes()
        for n in names
    )


def close(a: Path, b: Path) -> bool:
    """Float tolerance after 20 steps that began alike: all weights near, hardly any support changed."""
    first, second = weights(a), weights(b)
    pairs = [(first[name], second[name]) for name in first]
    swapped = sum(int(((x == 0) != (y == 0)).sum()) for x, y in pairs)
    return swapped < 10 and all(torch.allclose(x, y, atol=1e-4) or swapped for x, y in pairs)


def test_a_joint_step_is_the_step_of_one_process_on_the_whole_batch(joint: tuple[Path, object]) -> None:
    """20 steps, each from the same state, the joint one in two parts per process as well."""
    found = json.loads((joint[0] / "steps.json").read_text())
    assert found["loss"] < 5e-6 and found["rms"] < 1e-5 and found["weight"] < 5e-6
    assert found["swapped"] <= 50 and found["gap"] < 1e-3  # supports differ at the threshold alone


def test_resuming_with_as_many_processes_gives_the_same_bytes(joint: tuple[Path, object]) -> None:
    assert same_bytes(joint[0] / "two-two", joint[0] / "two")
    assert not same_bytes(joint[0] / "two", joint[0] / "one")  # the comparison can fail


def test_resuming_with_another_number_of_processes_goes_on_nearly_alike(joint: tuple[Path, object]) -> None:
    for name in ("two-one", "one-two", "two"):
        assert close(joint[0] / name, joint[0] / "one"), name
        assert [row.step for row in load_run(joint[0] / name).metrics] == list(range(1, 21))


def test_only_the_first_process_speaks(joint: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, done = joint
    decoder, documents, text = json.JSONDecoder(), [], done.stdout.strip()
    while text:
        document, end = decoder.raw_decode(text)
        documents.append(document)
        text = text[end:].strip()
    assert [Path(document["run"]).name for document in documents] == ["one", "two", "two-two", "one-two", "two-one"]
    errors = [line for line in done.stderr.splitlines() if line.startswith("thinwire: error: ")]
    assert len(errors) == 2
    assert "two is not empty" in errors[0]
    assert "train.batch_size 8 is not a multiple of 3 processes x train.micro_batches 1" in errors[1]


def test_shares_are_the_batch_in_order() -> None:
    batch = np.arange(12).reshape(6, 2)
    shares = [Processes(rank, 3).share(batch).tolist() for rank in range(3)]
    assert sum(shares, []) == batch.tolist() and len(shares[0]) == 2
    assert ALONE.share(batch) is not None and np.array_equal(ALONE.share(batch), batch)


def test_alone_there_is_nothing_to_exchange() -> None:
    assert ALONE.first_then_all(lambda: 3) == 3
    ALONE.average_([torch.ones(2)])
    ALONE.check_same([torch.ones(2)])

    def refuse() -> None:
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        ALONE.on_first(refuse)


def test_buckets_hold_everything_once_and_not_too_much() -> None:
    sizes = [BUCKET // 2, BUCKET // 2, 3, BUCKET, 5]
    tensors = [torch.empty(size, device="meta") for size in sizes]
    buckets = [[t.numel() for t in bucket] for bucket in _buckets(tensors)]
    assert buckets == [[BUCKET // 2, BUCKET // 2], [3, BUCKET], [5]]


# --- torchrun itself ------------------------------------------------------------------------------------------------

ENDED = (0, 1)
"""A training that came to its end, whether or not it has learned anything."""
LONG = [
    *("--model.vocab_size=288", "--model.d_model=32", "--model.context=16", "--model.n_layer=1", "--threads=1"),
    *("--train.n_tokens=38400", "--train.batch_size=8", "--train.density=0.2", "--data.heldout_frac=0.3"),
    *("--train.checkpoint_every_steps=40", "--train.eval_every_steps=100"),
]
"""300 steps."""


def torchrun(corpus: Path, out: Path, log: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "thinwire"]
    command += ["train", "--json", "--out", str(out), f"--data.source={corpus}", *LONG, *more]
    with open(log, "wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | FORKABLE)


def workers(parent: int) -> list[int]:
    """Process ids of a process's children that train, oldest first."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return sorted(int(pid) for pid in children if b"thinwire" in Path(f"/proc/{pid}/cmdline").read_bytes())


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_ends_the_job_and_resume_goes_on(small_corpus: Path, tmp_path: Path, victim: int) -> None:
    log = tmp_path / "log"
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert torchrun(small_corpus, whole, log).wait(120) in ENDED and (whole / "final.json").exists(), log.read_text()
    metrics = killed / "metrics.jsonl"
    with torchrun(small_corpus, killed, log) as job:
        while job.poll() is None and not (metrics.exists() and metrics.read_bytes().count(b"\n") > 90):
            time.sleep(0.01)
        os.kill(workers(job.pid)[victim], signal.SIGKILL)
        assert job.wait(60) != 0
    said = log.read_text()
    assert "thinwire: error: another process of this job has ended" in said and "with --resume" in said
    assert "Signal 9 (SIGKILL) received" in said  # torchrun says who died
    assert not (killed / "final.json").exists()
    assert torchrun(small_corpus, killed, log, "--resume").wait(120) in ENDED, log.read_text()
    assert (killed / "final.json").exists(), log.read_text()
    name = "checkpoints/step-00000300/model.safetensors"
    assert (killed / name).read_bytes() == (whole / name).read_bytes()
