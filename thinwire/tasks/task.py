"""What a task is: minimal pairs of prompts that need opposite answers.

Source: Gao et al. 2025, section 2.3 ("Finding minimal circuits") and appendix A.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Pair:
    """Two prompts that differ minimally. `answer` continues `clean`, `other` continues `corrupt`."""

    clean: str
    corrupt: str
    place: str = field(default="", compare=False, repr=False)
    """Where the pair was written, as in `own.jsonl, line 7`, for messages; empty for pairs from templates."""


@dataclass(frozen=True)
class Answers:
    """One byte-exact alternative for a task's two answers, in the order (clean, corrupt).

    Where a tokenizer's split pattern looks ahead, a single token exists only in view of the text behind it: seven
    spaces are one token in front of ` x`, `}` is one in front of `")`. That text is the `rest`.
    """

    answer: str
    other: str
    answer_rest: str = ""
    """What follows `answer` in real code; decides how the text is split, is never predicted."""
    other_rest: str = ""
    """What follows `other`."""


@runtime_checkable
class Task(Protocol):
    """A binary next-token choice. Any object with these members is a task."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int:
        """Changes whenever the pairs change."""
        ...

    @property
    def description(self) -> str:
        """What a solver must do, in a sentence."""
        ...

    @property
    def excluded_cue(self) -> str:
        """The shallow cue that does not give the answer, in a sentence."""
        ...

    @property
    def alternatives(self) -> tuple[Answers, ...]:
        """Answer texts by preference; a tokenizer uses the first that it produces as two single tokens."""
        ...

    def pairs(self, split: Split) -> list[Pair]:
        """All distinct pairs of a split, in a fixed order. Splits share neither names nor templates."""
        ...
