"""What every test runs under: checked shapes and types, one torch thread, a cache of its own."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as thinwire/__init__.py does, too late where torch comes first
os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # idle threads of numba's pool spin: 24 ms a call on a busy machine

# Tests share compiled kernels with the user: they are named by their content, and compiling them takes a minute.
os.environ.setdefault(
    "NUMBA_CACHE_DIR", str((Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")) / "thinwire/kernels")
)

settings.register_profile("steady", deadline=None)  # a busy machine is no failure
settings.load_profile("steady")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tokenizers and shards that tests make go where tests end, never into the user's cache."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THINWIRE_CACHE", str(cache))
        yield cache


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium (`playwright.sync_api.Browser`) that all pages share, each in a context of its own."""
    from chromium import chromium

    with chromium() as running:
        yield running


@pytest.fixture(autouse=True, scope="module")
def shared_models_stay() -> Iterator[None]:
    """The hand-built models are made once for all tests: a module that writes into one must copy it first."""
    from micro_model import bracket_counter, copy_model

    from thinwire.model.checkpoint import fingerprint

    yield
    for make in (copy_model, bracket_counter):
        if make.cache_info().currsize:
            hand = make()
            assert fingerprint(hand.model) == hand.made, f"a test wrote into {make.__name__}'s model; copy it first"


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six small files of Python, for trainings of a few steps."""
    from tiny_world import write_small_corpus

    return write_small_corpus(tmp_path_factory.mktemp("world") / "small")


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Python in which two built-in tasks occur."""
    from tiny_world import write_corpus

    return write_corpus(tmp_path_factory.mktemp("world") / "corpus")


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory, tiny_corpus: Path) -> Path:
    """The directory of a small trained run, shared by all tests: copy it before you change a file of it."""
    from tiny_world import tiny_config

    from thinwire.workflows.train import train

    out = tmp_path_factory.mktemp("runs") / "tiny"
    train(tiny_config(tiny_corpus), out)
    return out


@pytest.fixture(scope="session")
def tiny_run(tiny_path: Path) -> Any:
    """The run in `tiny_path`, a `thinwire.runs.run.Run` that solves `tiny_world.SOLVED`."""
    from thinwire.runs.run import load_run

    return load_run(tiny_path)


@pytest.fixture(scope="session")
def own_task(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A .jsonl file with a few pairs of what the tiny run solves: the quickest task to prune."""
    from tiny_world import write_own_task

    return str(write_own_task(tmp_path_factory.mktemp("tasks") / "own.jsonl"))


@pytest.fixture
def own_run(tiny_path: Path, tmp_path: Path) -> Any:
    """A copy of the tiny run, to write into."""
    from thinwire.runs.run import load_run

    return load_run(shutil.copytree(tiny_path, tmp_path / "run"))


@pytest.fixture(scope="module")
def brief_verification() -> Iterator[None]:
    """The fast budget with few samples: every test of a circuit is run, in a fifth of the time."""
    from tiny_world import few_samples

    from thinwire.verification.budget import BUDGETS

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BUDGETS, "fast", few_samples())
        yield


@pytest.fixture
def brief_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages measure few effects and little text: where it counts that there is a page."""
    from thinwire.workflows import view

    for name, value in {"NODE_EFFECTS": 0, "EDGE_EFFECTS": 2, "TEXT_WINDOWS": 8, "EXAMPLE_LIMIT": 8}.items():
        monkeypatch.setattr(view, name, value)


@pytest.fixture(scope="session")
def pruned_path(tiny_path: Path, own_task: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny run with one verified circuit, of `own_task`; shared by all tests, so copy it too."""
    from tiny_world import quick

    from thinwire.runs.run import load_run
    from thinwire.workflows.prune import prune
    from thinwire.workflows.verify import verify

    path = tmp_path_factory.mktemp("pruned") / "run"
    run = load_run(shutil.copytree(tiny_path, path))
    verify(run, prune(run, own_task, quick()))
    return path
