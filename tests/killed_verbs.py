"""Prunes and verifies in child processes that are killed at random moments, then goes on. See faults/test_kills.py.

    python killed_verbs.py RUN TASK OUT SEED N

First a copy of RUN at OUT/whole is pruned and verified in peace. Then, N times, a child does the same in another copy,
OUT/0 and so on, and is killed up to three times on its way, each time at a moment drawn from twice the time that it
needs; then one goes on with --resume. Children are forked, so that each costs little more than its work.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from random import Random

from tiny_world import few_samples

from thinwire.cli.main import main
from thinwire.verification.budget import BUDGETS

QUICK = ["--steps=20", "--batch_pairs=16", "--learning_rate=0.06", "--means_tokens=1024"]


def work(run: Path, task: str, resume: bool) -> int:
    """Exit code of pruning and verifying."""
    code = main(["prune", "--json", str(run), task, *QUICK, *["--resume"] * resume])
    return code or main(["verify", "--json", str(run)])


def child(run: Path, task: str, resume: bool, seconds: float | None) -> int:
    """Exit status of `work` in a process that is killed after `seconds`; -9 when it was."""
    if (pid := os.fork()) == 0:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        os._exit(work(run, task, resume))
    if seconds is not None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
                break
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_all(run: Path, task: str, out: Path, seed: int, n: int) -> None:
    """Leaves by SystemExit when a process ends otherwise than it should."""
    random = Random(seed)
    shutil.copytree(run, out / "whole")
    assert child(out / "whole", task, False, None) == 0  # compiled and cached; not timed
    shutil.rmtree(out / "whole")
    shutil.copytree(run, out / "whole")
    began = time.monotonic()
    assert child(out / "whole", task, False, None) == 0
    took = time.monotonic() - began
    killed = 0
    for i in range(n):
        shutil.copytree(run, out / str(i))
        for again in range(random.randrange(1, 4)):
            status = child(out / str(i), task, again > 0, random.random() * took)
            if status not in (-signal.SIGKILL, 0):
                sys.exit(f"{i}: exit status {status} before it was killed")
            killed += status == -signal.SIGKILL
        if status := child(out / str(i), task, True, None):
            sys.exit(f"{i}: exit status {status} with --resume")
    sys.stdout.write(f"{killed}\n")


if __name__ == "__main__":
    BUDGETS["fast"] = few_samples()
    run_all(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
