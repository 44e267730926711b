"""One template: two prompts in one text.

    <<while|return>> $name      clean: `while $name`, corrupt: `return $name`

1. `<<a|b>>` marks a contrast: `a` stands in the clean prompt, `b` in the corrupt one.
2. `$name`, `$name2`, `$word` are slots: the pool that a slot draws from is its name without the final digit, and all
   slots of a prompt get different values.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from random import Random

from thinwire.tasks.task import Pair

CONTRAST = re.compile(r"<<([^|]*?)\|(.*?)>>", re.DOTALL)
SLOT = re.compile(r"\$([a-z]+)\d?")

Pools = Mapping[str, Sequence[str]]


def slots(template: str) -> dict[str, str]:
    """Slot (`$name2`) -> pool (`name`), in the order of first appearance."""
    return {match[0]: match[1] for match in SLOT.finditer(template)}


def fill(template: str, values: Mapping[str, str]) -> Pair:
    """The pair that a template gives when every slot has a value."""
    clean, corrupt = (CONTRAST.sub(rf"\{side}", template) for side in (1, 2))
    return Pair(*(SLOT.sub(lambda match: values[match[0]], text) for text in (clean, corrupt)))


def draw(template: str, pools: Pools, random: Random) -> Iterator[Pair]:
    """All pairs of a template, each once, in the order that `random` gives.

    Only `random.random()` is called: the one method whose results no Python version changes.
    """
    names = slots(template)
    choices = [pools[pool] for pool in names.values()]
    total = prod(len(pool) for pool in choices)
    seen: set[int] = set()
    while len(seen) < total:
        index = int(random.random() * total)
        if index in seen:
            continue
        seen.add(index)
        values = _values(choices, index)
        if len(set(values)) == len(values):
            yield fill(template, dict(zip(names, values, strict=True)))


def _values(choices: Sequence[Sequence[str]], index: int) -> list[str]:
    """One value per slot: the digits of `index` in the mixed base of the pools' sizes."""
    values = []
    for pool in choices:
        index, digit = divmod(index, len(pool))
        values.append(pool[digit])
    return values
