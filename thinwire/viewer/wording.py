"""Numbers and lists in words, the same everywhere on a page. static/words.js says the same; a test holds them equal."""

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import msgspec

from thinwire.viewer.markup import Markup, tag

Number = int | float
"""What JSON holds: a whole number may stand where a float is meant."""


def fixed(value: Number, digits: int) -> str:
    """So many decimals; halves go up, as in JavaScript."""
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def scientific(value: Number, digits: int) -> str:
    """1.5e-4."""
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def count(value: Number) -> str:
    """A whole number with thousands separated: 7,596."""
    return f"{value:,.0f}"


def short_count(value: Number) -> str:
    """About three digits: 950, 4.5M, 32k."""
    for limit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def loss(value: Number) -> str:
    """A loss in nats: three decimals, more where they would all be 0."""
    return fixed(value, 3) if value == 0 or abs(value) >= 0.001 else scientific(value, 1)


def signed(value: Number) -> str:
    """A weight or activation with its sign: +1.20, −0.043, 0."""
    if value == 0:
        return "0"
    size = abs(value)
    digits = fixed(size, 2) if size >= 0.0995 else fixed(size, 3) if size >= 0.0005 else scientific(size, 0)
    return ("+" if value > 0 else "−") + digits


def percent(share: Number) -> str:
    """A share in per cent with a no-break space: 99.8 %, and 100 % only where it is exact."""
    value = 100 * share
    if value in (0, 100):
        return f"{value:.0f}\u00a0%"
    return f"{fixed(min(max(value, 0.1), 99.9) if 0 < value < 100 else value, 1)}\u00a0%"


def ratio(value: Number) -> str:
    """A factor: two decimals below 10, one up to 100."""
    digits = max(0, 2 - max(0, math.floor(math.log10(value)))) if value > 0 else 2
    return f"{value:,.{digits}f}"


def seconds(value: Number) -> str:
    """A duration: 48 s, 3 min 05 s."""
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def listing(words: Sequence[str], final: str = "and") -> str:
    """`a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {final} {words[-1]}"


def plural(number: int, singular: str, many: str | None = None) -> str:
    """`1 edge`, `20 edges`."""
    return f"{count(number)} {singular if number == 1 else many or singular + 's'}"


def upper_first(words: str) -> str:
    """The first letter large, the others as they are."""
    return words[:1].upper() + words[1:]


def datum(value: Number, shown: str) -> Markup:
    """A number whose exact value stays in the page: `<data value="0.1423">0.142</data>`."""
    return tag("data", shown, value=repr(value))


def plain(record: Any) -> Any:
    """A record as JSON values. Where it is stored on this machine is no part of a page."""
    return msgspec.to_builtins(record, enc_hook=_without_places)


def _without_places(value: Any) -> None:
    if not isinstance(value, Path):
        raise NotImplementedError(f"a page cannot hold {type(value).__name__}")


def rounded(value: Any, digits: int) -> Any:
    """A copy whose floats have `digits` significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
