"""The one exception a user is meant to read."""

import os
import shlex
import sys
from pathlib import Path


class UserError(ValueError):
    """Bad input, said in one line that names the remedy.

    The command line prints it without a traceback and exits with code 2. Library
    callers can catch it as a `ValueError`.
    """


class MissingFile(UserError):
    """A file that an artefact needs is not there."""


class CorruptFile(UserError):
    """A file does not have the content that its checksum promises."""


class MissingExtra(UserError):
    """What is wanted needs packages of an extra of pyproject.toml that are not installed."""

    def __init__(self, wanted: str, extra: str, packages: str) -> None:
        """`wanted` in words; `packages` as pip takes them, for installations that are no checkout."""
        super().__init__(f"{wanted}; install what it needs with: {install_command(extra, packages)}")


def install_command(extra: str, packages: str, checkout: Path = Path(__file__).parents[1]) -> str:
    """How to install an extra beside this package: from its checkout with the pinned versions, else by name."""
    pip = f"{shlex.quote(_from_here(Path(sys.executable)))} -m pip install"
    if not (checkout / "pyproject.toml").exists():
        return f"{pip} {packages}"
    constraints, root = _from_here(checkout / "constraints.txt"), _from_here(checkout)
    return f"{pip} -c {shlex.quote(constraints)} -e {shlex.quote(f'{root}[{extra}]')}"


def reinstall_command(packages: str, checkout: Path = Path(__file__).parents[1]) -> str:
    """How to set the environment up again: a checkout's own way, else the packages that are broken."""
    if (checkout / "pyproject.toml").exists():
        return "rm -rf .venv && make test"
    return f"{shlex.quote(_from_here(Path(sys.executable)))} -m pip install --force-reinstall {packages}"


def _from_here(path: Path) -> str:
    """As seen from the working directory where it lies below that. Links stay: an environment's python is one."""
    absolute = Path(os.path.abspath(path))
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)
