"""The doctor measures the machine, and each check can fail and says what would help."""

import subprocess
from pathlib import Path

import pytest

from thinwire import __version__
from thinwire.runs.environment import Environment, commit, environment, machine, versions
from thinwire.storage.files import record_json
from thinwire.storage.records import read_record
from thinwire.workflows import doctor as checks
from thinwire.workflows.doctor import Check, doctor

GIB = 1 << 30


def test_this_machine_passes_and_every_check_runs() -> None:
    result = doctor()
    assert result.ok is True
    assert [check.name for check in result.checks] == [
        *("python", "packages", "numba", "kernels", "threads", "memory", "disk", "cache", "device", "repeatable")
    ]
    assert all(check.detail for check in result.checks)
    assert all(check.remedy == "" for check in result.checks if check.status == "ok")


@pytest.mark.parametrize(
    ("check", "status"),
    [
        (checks.check_python((3, 10, 14)), "fail"),
        (checks.check_python((3, 11, 0)), "ok"),
        (checks.check_packages(["json", "no_such_package"]), "fail"),
        (checks.check_threads(threads=5, cores=4), "warn"),
        (checks.check_threads(threads=4, cores=4), "ok"),
        (checks.check_memory(3 * GIB), "warn"),
        (checks.check_memory(8 * GIB), "ok"),
        (checks.check_disk(free=GIB - 1), "fail"),
        (checks.check_disk(free=GIB), "warn"),
        (checks.check_disk(free=5 * GIB), "ok"),
    ],
)
def test_each_check_tells_good_from_bad(check: Check, status: str) -> None:
    assert check.status == status
    assert (check.remedy == "") == (status == "ok")


def test_a_cache_that_cannot_be_written_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    check = checks.check_cache(tmp_path / "file" / "cache")
    assert check.status == "fail"
    assert "THINWIRE_CACHE" in check.remedy
    assert checks.check_cache(tmp_path / "new" / "cache").status == "ok"


def test_kernels_that_cannot_be_kept_or_are_damaged_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    check = checks.check_kernels([tmp_path / "file" / "one", tmp_path / "file" / "two"])
    assert (check.status, "export THINWIRE_CACHE=DIR" in check.remedy) == ("warn", True)
    good = checks.check_kernels([tmp_path / "file" / "one", tmp_path / "kept"])
    assert (good.status, good.detail) == ("ok", f"0 compiled and kept in {tmp_path / 'kept'}")
    (tmp_path / "kept" / "a.nbc").write_bytes(b"\x80" * 100)
    check = checks.check_kernels([tmp_path / "kept"])
    assert (check.status, check.detail) == ("warn", f"1 of 1 compiled kernels in {tmp_path / 'kept'} are damaged")


def test_a_kernel_that_computes_something_else_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    monkeypatch.setattr(numba, "njit", lambda function: lambda n: function(n) + 1)
    assert checks.check_numba().status == "fail"


def test_one_failure_makes_the_whole_fail_and_stops_what_builds_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "FIRST_CHECKS", (lambda: checks.check_packages(["no_such_package"]),))
    result = doctor()
    assert result.ok is False
    assert [check.name for check in result.checks] == ["packages"]


def test_a_warning_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CHECKS", (lambda: checks.check_threads(threads=2, cores=1),))
    assert doctor().ok is True


def test_environment_names_what_a_repetition_needs() -> None:
    found = environment(seed=7, threads=2)
    assert (found.seed, found.threads) == (7, 2)
    assert found.versions["thinwire"] == __version__
    assert found.machine.cores >= 1
    assert environment(seed=7, threads=2) == found  # nothing depends on the clock
    assert read_record(Environment, record_json(found).encode(), "env.json") == found


def test_versions_are_those_of_the_imported_packages() -> None:
    import numpy
    import torch

    assert versions()["torch"] == torch.__version__
    assert versions()["numpy"] == numpy.__version__


def test_machine_knows_the_processor_and_memory() -> None:
    found = machine()
    assert found.cpu
    assert found.memory_bytes is None or found.memory_bytes > GIB


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(directory), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_commit_is_the_checkouts_and_says_when_files_differ(tmp_path: Path) -> None:
    assert commit(tmp_path) is None  # no checkout
    git(tmp_path, "init", "--quiet")
    assert commit(tmp_path) is None  # no commit yet
    (tmp_path / "file").write_text("a")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert commit(tmp_path) == head
    (tmp_path / "untracked").write_text("b")
    assert commit(tmp_path) == head
    (tmp_path / "file").write_text("changed")
    assert commit(tmp_path) == f"{head}-modified"


def test_a_folder_inside_anothers_checkout_has_no_commit(tmp_path: Path) -> None:
    """A package installed into a project's environment must not report that project's commit."""
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "first")
    (tmp_path / "site-packages").mkdir()
    assert commit(tmp_path / "site-packages") is None


def test_no_git_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit(tmp_path) is None
