"""Errors name a remedy that works where the package was installed."""

import sys
from pathlib import Path

import pytest

from thinwire.errors import MissingExtra, install_command, reinstall_command

ROOT = Path(__file__).parent.parent


def test_in_a_checkout_an_extra_is_installed_with_the_pinned_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "executable", str(ROOT / ".venv/bin/python"))
    assert install_command("plot", "matplotlib") == (".venv/bin/python -m pip install -c constraints.txt -e '.[plot]'")


def test_from_elsewhere_the_checkout_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"-c {ROOT / 'constraints.txt'} -e '{ROOT}[plot]'" in install_command("plot", "matplotlib")


def test_without_a_checkout_the_packages_are_named(tmp_path: Path) -> None:
    assert install_command("hf", "datasets pyarrow", tmp_path).endswith(" -m pip install datasets pyarrow")


def test_an_environment_is_set_up_again_as_it_was_set_up(tmp_path: Path) -> None:
    assert reinstall_command("torch numba") == "rm -rf .venv && make test"
    assert reinstall_command("torch numba", tmp_path).endswith(" -m pip install --force-reinstall torch numba")


def test_a_missing_extra_is_one_line_with_its_remedy() -> None:
    text = str(MissingExtra("thinwire plot needs matplotlib", "plot", "matplotlib"))
    assert text.startswith("thinwire plot needs matplotlib; install what it needs with: ")
    assert "\n" not in text
