"""The search keeps every finished trial, prefers the fewest edges, and shares a study between processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from thinwire.pruning.config import PruneConfig
from thinwire.pruning.search import SPACE, STEPS, Size, search

BASE = PruneConfig(k_coef=1e-3, learning_rate=1e-2, steps=40)


def sizes(config: PruneConfig) -> Size:
    """Fewest edges at high prices; above 3e-3 nothing is solved."""
    return Size(config.k_coef < 3e-3, round(1 / config.k_coef), 0.1)


def n_trials(journal: Path) -> dict[str, int]:
    from optuna import load_study
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    study = load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(journal))))
    states = [trial.state.name for trial in study.trials]
    return {state: states.count(state) for state in states}


def test_the_best_solved_settings_win_and_stay_in_bounds(tmp_path: Path) -> None:
    tried = []

    def measure(config: PruneConfig) -> Size:
        tried.append(config)
        return sizes(config)

    best = search(tmp_path / "j", "s", 12, BASE, measure)
    solved = [c for c in tried if sizes(c).solved]
    assert sizes(best).n_edges == min(sizes(c).n_edges for c in solved)
    assert (tried[0].k_coef, tried[0].learning_rate, tried[0].steps) == (1e-3, 1e-2, 40)
    for config in tried:
        assert all(low <= getattr(config, name) <= high for name, (low, high) in SPACE.items())
        assert STEPS[0] <= config.steps <= STEPS[1] and config.seed == BASE.seed


def test_an_unsolved_circuit_is_worse_than_any_solved_one() -> None:
    assert Size(True, 10**6, 0.1).value < Size(False, 1, 0.2).value < Size(False, 1, 0.3).value


def test_a_study_goes_on_where_it_was(tmp_path: Path) -> None:
    search(tmp_path / "j", "s", 3, BASE, sizes)
    later = []
    search(tmp_path / "j", "s", 5, BASE, lambda c: (later.append(c), sizes(c))[1])
    assert len(later) == 2
    assert n_trials(tmp_path / "j") == {"COMPLETE": 5}


WORKER = """
import os, signal, sys
from pathlib import Path
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.search import Size, search
count = 0
def measure(config):
    global count
    count += 1
    if sys.argv[2] == "die" and count == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return Size(True, round(1 / config.k_coef), 0.1)
search(Path(sys.argv[1]), "s", 6, PruneConfig(), measure)
"""


@pytest.mark.slow
def test_processes_share_a_study_and_a_killed_one_loses_one_trial(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(tmp_path / "j")]
    dead = subprocess.run([*command, "die"], capture_output=True)
    assert dead.returncode == -signal.SIGKILL
    assert n_trials(tmp_path / "j") == {"COMPLETE": 1, "RUNNING": 1}
    workers = [subprocess.Popen([*command, "live"], env=os.environ) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    states = n_trials(tmp_path / "j")
    assert 6 <= states["COMPLETE"] <= 7 and states["RUNNING"] == 1
