"""The package as others install it: a wheel, in an environment that has nothing else.

What it needs comes from the index that pip is set up for. THINWIRE_PYTHON names another interpreter: python3.13.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from thinwire.version import __version__

ROOT = Path(__file__).parent.parent
PYTHON = os.environ.get("THINWIRE_PYTHON", sys.executable)
FILES = (
    *("py.typed", "models/headline/model.safetensors", "models/headline/README.md", "viewer/static/view.html"),
    *("tasks/templates/single_double_quote.toml", "interop/hugging_face/modeling_thinwire.py.txt", "cli/completion.py"),
)
USE = """
import thinwire, torch
run = thinwire.load("headline")
logits = run.model(torch.tensor([run.tokenizer.encode('\\n    print("empty')]))
print(run.tokenizer.decode([int(logits[0, -1].argmax())])[0], thinwire.__file__)
"""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def run(*command: str | Path, code: int = 0) -> str:
    """What a command prints, on both streams; it has to end with `code`."""
    words = {"THINWIRE_CACHE", "PYTHONPATH"}
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in words},
    )
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No checkout is near, and nothing that has the name of a model."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: building leaves its traces in the tree."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "thinwire", source / "thinwire", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a new environment with the wheel and the pinned versions of what it needs."""
    environment = tmp_path_factory.mktemp("clean") / "venv"
    run(PYTHON, "-m", "venv", environment)
    python = environment / "bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel)
    return environment / "bin"


def test_the_wheel_holds_the_package_and_its_data_alone(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(f"thinwire-{__version__}.dist-info/METADATA").decode()
    assert wheel.name == f"thinwire-{__version__}-py3-none-any.whl"
    assert {name.partition("/")[0] for name in names} == {"thinwire", f"thinwire-{__version__}.dist-info"}
    assert {f"thinwire/{name}" for name in FILES} <= set(names)
    tracked = {path.relative_to(ROOT).as_posix() for path in (ROOT / "thinwire").rglob("*") if path.is_file()}
    assert {name for name in tracked if "__pycache__" not in name} == {n for n in names if n.startswith("thinwire/")}
    assert "Requires-Python: >=3.11" in metadata and "Provides-Extra: plot" in metadata


def test_it_works_in_a_clean_environment(place: Path) -> None:
    assert run(place / "thinwire", "--version") == f"thinwire {__version__}\n"
    assert "fail" not in run(place / "thinwire", "doctor")
    assert "single_double_quote" in run(place / "thinwire", "--print_completion", "bash")
    quote, where = run(place / "python", "-c", USE).split()
    assert quote == '"' and where.startswith(str(place.parent))
    assert "No broken requirements" in run(place / "python", "-m", "pip", "check")


def test_what_is_missing_is_named_as_pip_takes_it(place: Path) -> None:
    """thinwire is on no index: the packages themselves are named."""
    said = run(place / "thinwire", "plot", "headline", code=2)
    assert said.endswith(f" {place}/python -m pip install matplotlib\n")
