"""How library code reports progress: it calls, the caller decides what is shown.

Library functions take `progress: Progress = silent` and never print.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable


@runtime_checkable
class Advance(Protocol):
    """Reports that `steps` more units of the current task are done."""

    def __call__(self, steps: int = 1, **shown: float | int | str) -> None: ...


@runtime_checkable
class Progress(Protocol):
    """Opens a task of `total` units (`unit` names one: "step", "token", "file").

    `with progress("train sparse", total=600, unit="step") as advance: advance(1, loss=3.2)`
    """

    def __call__(self, title: str, total: int, unit: str = "step") -> AbstractContextManager[Advance]: ...


def _ignore(steps: int = 1, **shown: float | int | str) -> None:
    return None


@contextmanager
def silent(title: str, total: int, unit: str = "step") -> Iterator[Advance]:
    """The `Progress` that shows nothing."""
    yield _ignore
