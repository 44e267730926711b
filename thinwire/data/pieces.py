r"""A long text in pieces that tokenise as the whole does, so that memory does not grow with the longest document.

A text may be cut where every known split pattern (`thinwire.data.tokenizer_file`) ends one match and begins another,
whatever stands around, and where nothing on the left looks ahead:

1. between an ASCII letter or digit and any other ASCII character that is neither: no pattern has a match that goes on
   behind a letter or digit with anything but letters or digits;
2. between a character that is no space and a space: no pattern has a space inside a match but behind other spaces.

Where the next 65,536 characters hold no such place (a single symbol repeated, a script without spaces) they are cut
behind their last newline, else at their end: a bound on memory that may cost one token at the cut. Behind a newline the
tokens are the whole's under the pattern of thinwire's own tokenizers, unless spaces follow.
"""

import re
from collections.abc import Iterable, Iterator
from typing import TypeVar

PIECE = 1 << 16
"""Most characters of a piece."""
AT_ONCE = 1 << 20
"""Characters that are tokenised at a time."""
_NEAR = 1 << 10
"""Characters in front of the end of a piece that are searched first."""
_PLACE = re.compile(r"(?<=[A-Za-z0-9])(?=[\x00-\x7f])(?![A-Za-z0-9])|(?<=[\w!-/:-@\[-`{-~])(?= )")

T = TypeVar("T")


def pieces(text: str) -> Iterator[str]:
    """Consecutive parts of `text`, none longer than `PIECE`; a text no longer than that is one piece."""
    start = 0
    while len(text) - start > PIECE:
        end = _cut(text, start)
        yield text[start:end]
        start = end
    yield text[start:]


def _cut(text: str, start: int) -> int:
    """Where the piece that begins at `start` ends."""
    end = start + PIECE
    for begin in (max(end - _NEAR, start + 1), start + 1):
        if places := [match.start() for match in _PLACE.finditer(text, begin, end + 1) if match.start() <= end]:
            return places[-1]
    newline = text.rfind("\n", start, end)
    return newline + 1 if newline > start else end


def groups(parts: Iterable[tuple[T, str]]) -> Iterator[list[tuple[T, str]]]:
    """Consecutive parts in lists that end once their texts hold `AT_ONCE` characters; the last may hold fewer."""
    group: list[tuple[T, str]] = []
    n_characters = 0
    for part in parts:
        group.append(part)
        n_characters += len(part[1])
        if n_characters >= AT_ONCE:
            yield group
            group, n_characters = [], 0
    if group:
        yield group
