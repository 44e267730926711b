"""Compiled kernels are found again by what they are made of, never where that has changed; damage is compiled away."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

KERNELS = Path(__file__).parent.parent.parent / "thinwire" / "kernels"
INNER = "from thinwire.kernels.compiled import kernel\n\n@kernel()\ndef add(x):\n    return x + {number}\n"
OUTER = """
from thinwire.kernels.compiled import kernel
from thinwire.kernels.inner import add

@kernel()
def twice(x):
    return 2 * add(x)
"""
PROGRAM = """
from thinwire.kernels.outer import twice
print(twice(1), sum(twice.stats.cache_hits.values()))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A package that has two kernels, one of which calls the other, in another file."""
    return make_checkout(tmp_path / "one")


def make_checkout(root: Path, number: int = 10) -> Path:
    folder = root / "thinwire" / "kernels"
    folder.mkdir(parents=True)
    (root / "thinwire" / "__init__.py").touch()
    (folder / "__init__.py").touch()
    shutil.copy(KERNELS / "compiled.py", folder)
    (folder / "inner.py").write_text(INNER.format(number=number))
    (folder / "outer.py").write_text(OUTER)
    return root


def outcome(checkout: Path, cache: Path) -> tuple[list[int], str]:
    """[result, hits] and stderr of a process that uses the kernels."""
    env = os.environ | {"NUMBA_CACHE_DIR": str(cache), "THINWIRE_CACHE": str(cache), "HOME": str(cache)}
    env |= {"XDG_CACHE_HOME": str(cache)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=checkout, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()], done.stderr


def files(cache: Path, ending: str = ".nbc") -> list[Path]:
    return sorted(cache.rglob(f"*{ending}"))


@pytest.mark.slow
def test_checkouts_of_equal_kernels_share_them(checkout: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert outcome(checkout, cache) == ([22, 0], "")
    assert outcome(make_checkout(tmp_path / "elsewhere"), cache) == ([22, 1], "")
    assert len(list(cache.iterdir())) == 1 and len(files(cache)) == 2


@pytest.mark.slow
def test_a_change_in_a_called_file_is_seen(checkout: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    outcome(checkout, cache)
    (checkout / "thinwire" / "kernels" / "inner.py").write_text(INNER.format(number=11))
    assert outcome(checkout, cache) == ([24, 0], "")


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_file_is_set_aside_and_compiled_anew(checkout: Path, tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache"
    outcome(checkout, cache)
    whole = {path.name for path in files(cache)}
    for path in files(cache):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes({"flip": bytes(content), "cut": content[: len(content) // 3], "empty": b""}[damage])
    assert outcome(checkout, cache) == ([22, 0], "")
    assert {path.name for path in files(cache)} == whole and len(files(cache, ".damaged")) == 2
    assert outcome(checkout, cache) == ([22, 1], "")


@pytest.mark.slow
def test_where_nothing_can_be_written_one_warning_says_what_helps(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # no folder can be made below it, not even by root
    found, said = outcome(checkout, tmp_path / "file" / "cache")
    assert found == [22, 0]
    assert said.count("RuntimeWarning: compiled kernels cannot be kept") == 1
    assert "export THINWIRE_CACHE=DIR" in said


def test_no_kernel_is_kept_by_numba_itself() -> None:
    assert [path.name for path in KERNELS.glob("*.py") if "cache=True" in path.read_text()] == []


def test_folders_that_nobody_uses_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from thinwire.kernels.compiled import kernel_folder

    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    for name, days in (("thinwire-old", 61), ("thinwire-recent", 59), ("other-old", 900)):
        (tmp_path / name).mkdir()
        then = (tmp_path / name).stat().st_mtime - days * 86400
        os.utime(tmp_path / name, (then, then))
    folder = kernel_folder.__wrapped__()
    assert folder and {path.name for path in tmp_path.iterdir()} == {folder.name, "thinwire-recent", "other-old"}
