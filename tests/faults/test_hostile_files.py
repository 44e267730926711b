"""Whatever stands in a file of a run, a verb ends: with the result that it had, or with one line and exit code 2.

Each case damages one file (`damage`) and runs one verb that reads it. Accepted are

- exit code 2, one line on stderr, and a run in which nothing has changed;
- exit code 0 and the very result of the undamaged run: the verb does not read the file, or what is there is equal.

Anything else is a traceback, a hang, a half-written file, or a wrong value taken in silence.
"""

import io
import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from damage import Damage, damage
from tiny_world import few_samples, write_own_task

from thinwire.cli.main import main
from thinwire.storage.files import sha256
from thinwire.verification.budget import BUDGETS

SECONDS = 60
"""A verb that computes for longer on this run hangs ..."""
WAITING = 900
"""... and so does one that waits for so long: a busy machine is no failure."""
QUICK = ["--steps=30", "--batch_pairs=16", "--learning_rate=0.06", "--means_tokens=2048"]
VERBS = {
    "eval": ["eval", "RUN"],
    "circuits": ["eval", "RUN", "--circuits"],
    "check": ["tasks", "check", "RUN", "TASK"],
    "prune": ["prune", "RUN", "TASK", "--resume", *QUICK],
    "train": ["train", "--out=RUN", "--resume"],
    "verify": ["verify", "RUN"],
    "foreign": ["verify", "RUN", "THEIRS"],
    "view": ["view", "RUN"],
    "report": ["report", "RUN"],
}
SOON = ("eval", "circuits", "check", "prune", "train")
READ_BY = {
    "config.yaml": ("eval", "train", "check", "report"),
    "env.json": ("report", "train"),
    "costs.json": ("train", "eval"),
    "corpus.json": ("report", "eval", "train"),
    "tokenizer.json": ("check", "verify", "view", "circuits"),
    "heldout.bin": ("eval", "verify"),
    "metrics.jsonl": ("report", "train"),
    "final.json": ("report", "view"),
    "manifest.json": ("eval", "report", "check", "prune"),
    "checkpoint/manifest.json": ("eval", "train"),
    "checkpoint/state.json": ("eval", "train"),
    "checkpoint/model.safetensors": ("eval", "check", "view"),
    "checkpoint/optimizer.safetensors": ("train",),
    "circuit/manifest.json": ("circuits", "view", "verify"),
    "circuit/circuit.json": ("circuits", "view", "report", "verify"),
    "circuit/means.safetensors": ("circuits", "view", "verify"),
    "circuit/pairs.safetensors": ("circuits", "view", "verify", "report"),
    "circuit/verify.json": ("circuits", "report", "view", "prune"),
    "theirs/circuit.json": ("foreign",),
    "theirs/means.safetensors": ("foreign",),
    "theirs/pairs.safetensors": ("foreign",),
    "TASK": ("check",),
}
"""File -> verbs that read it, among others. (`prune --resume` finds a damaged circuit anew, which takes its time.)"""
FREE = (
    ("TASK", ""),
    ("config.yaml", " gone"),
    ("circuit/manifest.json", "files.verify.json gone"),
    ("env.json", "machine."),
    ("env.json", "versions."),
    ("theirs/", "flip"),
    ("theirs/circuit.json", "gone"),
    ("theirs/circuit.json", "= 'None'"),
    ("theirs/means.safetensors", "gone"),
    ("theirs/pairs.safetensors", "gone"),
    ("theirs/means.safetensors", "negative"),
    ("theirs/means.safetensors", "large"),
)
"""(file, how): what nobody vouches for. A user's task is what the user wrote; a circuit from elsewhere may lack parts,
for which others stand in or which are None, and state numbers of its own. What a machine was called, and what stood on
it, only the machine knew. A verdict that the manifest does not list is one whose writing was cut short. A key that a
config lacks has its default, as in runs from before there was the key."""
OFTEN = {
    "theirs/circuit.json": 2,
    "circuit/circuit.json": 4,
    "circuit/verify.json": 3,
    "circuit/pairs.safetensors": 2,
    "config.yaml": 2,
}


@dataclass(frozen=True)
class Hostile:
    """A run and its task that are damaged in place, and what comes back from the undamaged ones."""

    whole: Path
    place: Path
    results: dict[str, str]

    @property
    def run(self) -> Path:
        return self.place / "run"

    @property
    def task(self) -> Path:
        return self.place / "own.jsonl"

    def restore(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.whole, self.place, symlinks=True)

    def path_of(self, file: str) -> str:
        """Below `place`."""
        head, _, name = file.rpartition("/")
        folders = {
            "checkpoint": lambda: sorted((self.run / "checkpoints").iterdir())[-1],
            "circuit": lambda: next(self.run.glob("circuits/*/*/*")),
            "theirs": lambda: self.place / "theirs",
            "": lambda: self.run,
        }
        path = self.task if file == "TASK" else folders[head]() / name
        return str(path.relative_to(self.place))


@dataclass(frozen=True)
class Outcome:
    """How a verb ended."""

    code: int | None
    """None: with a traceback, or not at all."""
    result: str
    stderr: str


class Hang(BaseException):
    """Not an `Exception`, so that nobody takes it for one of theirs."""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Hang

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, WAITING))
    handlers = {number: signal.signal(number, stop) for _, number, _ in timers}
    left = {timer: signal.setitimer(timer, limit)[0] for timer, _, limit in timers}
    began = time.monotonic()
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for timer, seconds_left in left.items():  # pytest's own, where there is one
            signal.setitimer(timer, max(seconds_left - (time.monotonic() - began), 0.1) if seconds_left else 0)


def call(hostile: Hostile, verb: str) -> Outcome:
    """Run a verb in this process."""
    words = {"RUN": str(hostile.run), "TASK": str(hostile.task), "THEIRS": str(hostile.place / "theirs")}
    argv = [re.sub("RUN|TASK|THEIRS", lambda found: words[found[0]], word) for word in VERBS[verb]]
    out, err = io.StringIO(), io.StringIO()
    try:
        with limited(SECONDS), redirect_stdout(out), redirect_stderr(err):
            code = main([*argv, "--json"])
    except Hang:
        return Outcome(None, "", "hangs")
    except BaseException as error:  # noqa: BLE001 - SystemExit and what no verb may raise
        return Outcome(None, "", f"{type(error).__name__}: {error}"[:300])
    page = {"view": "view.html", "report": "report.html"}.get(verb)
    written = (hostile.run / page).read_text(encoding="utf-8") if code == 0 and page else ""
    return Outcome(code, undated(out.getvalue()) + undated(written), err.getvalue())


def undated(text: str) -> str:
    """A result without what the clock decides."""
    text = re.sub(r'"(seconds|created|create_time_ms)": ?("[^"]*"|[\d.e+-]+)', "", text)
    return re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\+00:00)?( UTC)?", "", text)


def contents(folder: Path) -> dict[str, str]:
    """What every file below a folder holds."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def judged(hostile: Hostile, verb: str, done: Damage) -> str | None:
    """What is wrong with how the verb ended on the damaged run; None where nothing is."""
    before = contents(hostile.place)
    began = time.monotonic()
    found = call(hostile, verb)
    what = f"{done.file}: {done.how}; {verb} ({time.monotonic() - began:.1f} s)"
    if found.code is None:
        return f"{what}: TRACEBACK {found.stderr}"
    if found.code == 2:
        *before_it, last = found.stderr.strip().splitlines() or [""]
        if not last.startswith("thinwire: error: ") or len(last) > 1000 or any("error" in line for line in before_it):
            return f"{what}: on stderr: {found.stderr[-500:]}"
        if contents(hostile.place) != before:
            changed = set(contents(hostile.place).items()) ^ set(before.items())
            return f"{what}: wrote {sorted({name for name, _ in changed})}"
        return None
    if found.code in (0, 1) and _is_free(done):
        return None
    if found.code != 0 or found.result != hostile.results[verb]:
        return f"{what}: TAKEN IN SILENCE, exit code {found.code}"
    return None


def _is_free(done: Damage) -> bool:
    return any(done.file.startswith(file) and how in done.how for file, how in FREE)


def campaign(hostile: Hostile, seed: int, n: int, verbs: tuple[str, ...]) -> list[str]:
    """Damage `n` files, one after the other; returns what went wrong."""
    random, wrong = Random(seed), []
    files = [file for file in READ_BY for _ in range(OFTEN.get(file, 1)) if set(READ_BY[file]) & set(verbs)]
    for i in range(n):
        hostile.restore()
        file = files[i % len(files)]
        done = replace(damage(hostile.place, hostile.path_of(file), random), file=file)
        verb = random.choice([verb for verb in READ_BY[file] if verb in verbs])
        if (said := judged(hostile, verb, done)) is not None:
            wrong.append(f"seed {seed}, case {i}: {said}")
    return wrong


def foreign(ours: Path, theirs: Path) -> None:
    """A circuit's directory as another tool may write it, docs/verification.md."""
    values = json.loads((ours / "circuit.json").read_text(encoding="utf-8"))
    names = ("model_fingerprint", "task", "nodes", "minimal_edges", "target_loss", "norm_scales", "scope")
    (theirs / "circuit.json").write_text(json.dumps({name: values[name] for name in names}), encoding="utf-8")
    for name in ("means.safetensors", "pairs.safetensors"):
        shutil.copy(ours / name, theirs / name)


@pytest.fixture(scope="module")
def hostile(pruned_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Hostile]]:
    """Gives a run to damage, made once for some verbs. Verification takes a moment: few samples of everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BUDGETS, "fast", few_samples())
        yield cache(lambda verbs: made_hostile(pruned_path, tmp_path_factory.mktemp("hostile"), verbs))


def made_hostile(pruned: Path, folder: Path, verbs: tuple[str, ...]) -> Hostile:
    """A copy of a run to damage, and what the verbs say of it undamaged, twice the same."""
    found = Hostile(folder / "whole", folder / "place", {})
    found.whole.mkdir()
    shutil.copytree(pruned, found.whole / "run")
    write_own_task(found.whole / "own.jsonl")
    (found.whole / "theirs").mkdir()
    foreign(next((found.whole / "run").glob("circuits/*/*/*")), found.whole / "theirs")
    found.restore()
    undamaged(found, "verify")  # with few samples, as every later call
    shutil.rmtree(found.whole)
    shutil.copytree(found.place, found.whole)
    for verb in verbs:
        found.restore()
        found.results[verb] = undamaged(found, verb)
        found.restore()
        assert undamaged(found, verb) == found.results[verb], f"{verb} gives another result the second time"
    return found


def undamaged(hostile: Hostile, verb: str) -> str:
    """The result of a verb that has nothing to complain of."""
    outcome = call(hostile, verb)
    assert outcome.code == 0, (verb, outcome.code, outcome.stderr)
    return outcome.result


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_damaged_files_end_in_one_line_or_change_nothing(hostile: Callable[..., Hostile]) -> None:
    """Quick verbs; the test below takes all of them, and more cases."""
    wrong = campaign(hostile(SOON), 0, 150, SOON)
    assert not wrong, json.dumps(wrong, indent=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(1, 9))
def test_many_damaged_files(hostile: Callable[..., Hostile], seed: int) -> None:
    """Eight times 250: 2,000 cases."""
    wrong = campaign(hostile(tuple(VERBS)), seed, 250, tuple(VERBS))
    assert not wrong, json.dumps(wrong, indent=1)
