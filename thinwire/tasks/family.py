"""Families: the tasks that ship with the package, each one data file of templates (templates/NAME.toml).

The pairs of a split come from that split's own templates and that split's own names (templates/names.toml):
1. every template walks through its fillings in an order drawn from the seed `NAME/VERSION/SPLIT/TEMPLATE'S PLACE`
   (for a shift, `thinwire.tasks.shifts`, the shift's name stands for the split);
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
    shifts: Mapping[str, tuple[str, ...]]
    """Shift -> templates that only this family has; none for a shift that would change the answers here."""

    def pairs(self, split: Split) -> list[Pair]:
        """Distinct pairs of a split, in a fixed order; at most `SIZES[split]`."""
        return self.generate(self.templates[split], names(split), split, SIZES[split])

    def generate(self, templates: Sequence[str], pools: Pools, part: str, size: int) -> list[Pair]:
        """At most `size` distinct pairs of `templates`; `part` is the seed's share that the caller chooses."""
        streams = [
            draw(template, pools, Random(f"{self.name}/{self.version}/{part}/{place}"))
            for place, template in enumerate(templates)
        ]
        pairs: dict[Pair, None] = {}
        for pair in _take_turns(streams):
            pairs[pair] = None
            if len(pairs) == size:
                break
        return list(pairs)


@cache
def load_family(name: str) -> Family:
    """The family of templates/NAME.toml, which must exist."""
    values = read_template_file(f"{name}.toml")
    answers = tuple(_answers(*sides) for sides in product(values.pop("answer"), values.pop("other")))
    templates: dict[Split, tuple[str, ...]] = {split: tuple(values.pop(split)) for split in SPLITS}
    shifts = {shift: tuple(own) for shift, own in values.pop("shifts", {}).items()}
    return Family(name=name, alternatives=answers, templates=templates, shifts=shifts, **values)


@cache
def names(split: Split) -> Pools:
    """Pool -> the values that slots draw from in this split; no value is in two splits."""
    return {pool: tuple(values[split].split()) for pool, values in read_template_file("names.toml").items()}


def read_template_file(file: str) -> dict[str, Any]:
    """Content of a data file of this package."""
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
