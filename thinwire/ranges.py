"""Which values a setting may have: said where it is declared, refused in the same words from wherever it comes.

A config calls `check` when it is made, so the command line, Python and a stored file meet the same ranges, before
anything is built from them.
"""

import math
import re
from collections.abc import Callable
from dataclasses import fields
from decimal import Decimal
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from thinwire.errors import UserError

SEED = "[0, 1e18]"
"""What torch and numpy both take, with room for the seeds that are counted on from it."""
_INTERVAL = re.compile(r"([(\[])(\S+), (\S+)([)\]])(?:; (.+))?")


def check(config: Any, **ranges: str) -> None:
    """Raise `UserError` for the first field of a dataclass that has another type or value than it may have.

    Numbers, texts, switches and choices have the type that they are annotated with. `ranges` gives the interval of
    every field that is a number, a remedy behind it: `density="(0, 1]; 1 trains a dense model"`.
    """
    numbers = {field.name for field in fields(config) if field.type in (int, float)}
    assert numbers == ranges.keys(), f"{type(config).__name__} has numbers without a range: {numbers ^ ranges.keys()}"
    for field in fields(config):
        value = getattr(config, field.name)
        if said := _wrong_kind(value, field.type):
            raise UserError(f"{field.name} {_shown(value)} {said}")
    for name, interval in ranges.items():
        check_range(name, getattr(config, name), interval)


def _wrong_kind(value: Any, kind: Any) -> str:
    """What is wrong with a value of the annotated kind; empty if nothing is, or nobody can tell from the kind."""
    choices = get_args(kind)
    if get_origin(kind) is UnionType:
        said = [_wrong_kind(value, choice) for choice in choices]
        return "" if "" in said else said[0]
    if get_origin(kind) is Literal:
        return "" if value in choices else f"is unknown; there are: {', '.join(map(str, choices))}"
    if get_origin(kind) is tuple:
        return "" if isinstance(value, tuple) and all(map(_is_text, value)) else "is no list of texts in UTF-8"
    fits, said = _KINDS.get(kind, (lambda _: True, ""))
    return "" if fits(value) else said


def _is_number(value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (isinstance(value, float) and math.isfinite(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


_KINDS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    bool: (lambda value: type(value) is bool, "is neither true nor false"),
    int: (lambda value: isinstance(value, int) and not isinstance(value, bool), "is no whole number"),
    float: (_is_number, "is no finite number"),
    str: (_is_text, "is no text in UTF-8"),
}


def check_range(name: str, value: float, interval: str) -> None:
    """Raise `UserError` for a number outside an interval such as `[1, 1e6]; the default is 64`."""
    found = _INTERVAL.fullmatch(interval)
    assert found, f"{interval} is no interval"
    opening, low, high, closing, remedy = found.groups()
    above = value > Decimal(low) if opening == "(" else value >= Decimal(low)
    below = value < Decimal(high) if closing == ")" else value <= Decimal(high)
    if not (above and below):
        shown = f"{opening}{low}, {high}{closing}"
        raise UserError(f"{name} {_shown(value)} is not in {shown}" + (f"; {remedy}" if remedy else ""))


def _shown(value: Any) -> str:
    """A value in a message; a whole number of thousands of digits cannot be written out."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
