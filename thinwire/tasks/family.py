"""Families: the tasks that ship with the package, each one data file of templates (templates/NAME.toml).

The pairs of a split come from that split's own templates and that split's own names (templates/names.toml):
1. every template walks through its fillings in an order drawn from the seed `NAME/VERSION/SPLIT/TEMPLATE'S PLACE`;
2. templates take turns, one pair each, so that none dominates; one that has run out is passed over;
3. it ends at `SIZES[split]` pairs.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice, product
from random import Random
from typing import Any

from thinwire.tasks.task import SPLITS, Answers, Pair, Split
from thinwire.tasks.template import Pools, draw

SIZES: Mapping[Split, int] = {"train": 768, "validation": 256, "test": 256}
"""Pairs per split: 12 batches of 64 to learn gates on; 512 prompts give an accuracy a standard error below 2.3 %."""


@dataclass(frozen=True)
class Family:
    """A task given by templates (Gao et al. 2025, appendix A; the templates are this project's own)."""

    name: str
    version: int
    paper: bool
    """Whether it is one of the paper's twenty tasks, by its name there."""
    description: str
    """What a solver must do, in a sentence."""
    excluded_cue: str
    """The shallow cue that does not give the answer, in a sentence."""
    alternatives: tuple[Answers, ...]
    templates: Mapping[Split, tuple[str, ...]]
    """Split -> templates, in the notation of `thinwire.tasks.template`."""

    def pairs(self, split: Split) -> list[Pair]:
        """Distinct pairs of a split, in a fixed order; at most `SIZES[split]`."""
        pools = names(split)
        streams = [
            draw(template, pools, Random(f"{self.name}/{self.version}/{split}/{place}"))
            for place, template in enumerate(self.templates[split])
        ]
        pairs: dict[Pair, None] = {}
        for pair in _take_turns(streams):
            pairs[pair] = None
            if len(pairs) == SIZES[split]:
                break
        return list(pairs)


@cache
def load_family(name: str) -> Family:
    """The family of templates/NAME.toml, which must exist."""
    values = _read(f"{name}.toml")
    answers = tuple(_answers(*sides) for sides in product(values.pop("answer"), values.pop("other")))
    templates: dict[Split, tuple[str, ...]] = {split: tuple(values.pop(split)) for split in SPLITS}
    return Family(name=name, alternatives=answers, templates=templates, **values)


@cache
def names(split: Split) -> Pools:
    """Pool -> the values that slots draw from in this split; no value is in two splits."""
    return {pool: tuple(values[split].split()) for pool, values in _read("names.toml").items()}


def _read(file: str) -> dict[str, Any]:
    return tomllib.loads((files("thinwire.tasks") / "templates" / file).read_text(encoding="utf-8"))


def _answers(answer: str | list[str], other: str | list[str]) -> Answers:
    """One way to write the first answer with one way to write the second; each a text, or [text, rest]."""
    text, rest = (answer, "") if isinstance(answer, str) else answer
    other_text, other_rest = (other, "") if isinstance(other, str) else other
    return Answers(text, other_text, rest, other_rest)


def _take_turns(streams: Sequence[Iterator[Pair]]) -> Iterator[Pair]:
    while streams:
        going = []
        for stream in streams:
            for pair in islice(stream, 1):
                yield pair
                going.append(stream)
        streams = going
