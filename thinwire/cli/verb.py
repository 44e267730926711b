"""What a verb of the command line is. Each lives in a file of its own under `verbs/`; `registry.py` lists them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser
from thinwire.cli.tables import show_any

R = TypeVar("R")
"""What the verb's workflow returns, which `--json` prints as it is."""


def no_arguments(_parser: Parser, _argv: list[str]) -> None:
    return None


def done(_result: Any) -> int:
    """Whatever came out is a result: exit code 0."""
    return 0


@dataclass(frozen=True)
class Verb(Generic[R]):
    """One verb: what its help says, what it takes, what it calls, what it shows and how it ends.

    Workflows and configs are imported inside the functions, so that `--help` and mistakes cost no second.
    """

    name: str
    """One word, or two as in `tasks list`."""
    summary: str
    usage: str
    """What follows the name in the first line of the help."""
    example: str
    run: Callable[[Namespace], R]
    add_arguments: Callable[[Parser, list[str]], None] = no_arguments
    """Adds what the verb takes; also given the words of the command line, for defaults that follow from them."""
    show: Callable[[Console, R], None] = show_any
    """The result as tables."""
    resumes: bool = False
    """Whether `--resume` goes on with an interrupted call."""
    exit_code: Callable[[R], int] = done
