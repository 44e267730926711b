"""How often does a text go on as a task says? What a model can learn of a task from it, before any is trained.

templates/contexts.toml has two regular expressions for every task: places that look like its clean and like its corrupt
prompts. Each place is followed by the right answer, by the wrong one, or by something else. A text teaches a task where
both sides have many places and the right answer follows most of them; few places mean that only more text teaches it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from thinwire.tasks.family import read_template_file
from thinwire.tasks.registry import all_tasks

WORDS = {
    "NAME": r"[A-Za-z_]\w*(?!\w)",
    "REF": r"[A-Za-z_]\w*(?!\w)(?:\.[A-Za-z_]\w*(?!\w))?(?!\.\w)",
    "ITEM": r"(?:[A-Za-z_]\w*|\d+)(?!\w)",
}
"""What the expressions call identifiers, references and items; every name is matched whole."""
LOOK_AHEAD = 16
"""Characters that an answer has at most."""


@dataclass
class Places:
    """Places of a text that look like one side of a task."""

    n: int = 0
    right: int = 0
    """Of these, how many go on with the side's answer."""
    wrong: int = 0
    """And with the other side's."""


@dataclass(frozen=True)
class Side:
    """One side of a task as a text shows it."""

    context: re.Pattern[str]
    """Ends where the answer begins."""
    right: str
    wrong: str

    def count(self, text: str, places: Places) -> None:
        """Add the places of `text`. Where one answer begins with the other, the longer match counts."""
        for match in self.context.finditer(text):
            following = text[match.end() : match.end() + LOOK_AHEAD]
            found = max((a for a in (self.right, self.wrong) if following.startswith(a)), key=len, default=None)
            places.n += 1
            places.right += found == self.right
            places.wrong += found == self.wrong


@cache
def contexts() -> Mapping[str, tuple[Side, Side]]:
    """Task -> (clean side, corrupt side), for every built-in task in its order."""
    written = read_template_file("contexts.toml")
    found = {}
    for name, task in all_tasks().items():
        first = task.alternatives[0]
        answer, other = written[name].get("answers", (first.answer, first.other))
        clean, corrupt = (_pattern(written[name][side]) for side in ("clean", "corrupt"))
        found[name] = (Side(clean, answer, other), Side(corrupt, other, answer))
    return found


def count_contexts(texts: Iterable[str], tasks: Sequence[str] = ()) -> dict[str, tuple[Places, Places]]:
    """Task -> places of its clean and of its corrupt side in all texts; for the named tasks, or for all."""
    sides = {name: contexts()[name] for name in tasks or contexts()}
    counts = {name: (Places(), Places()) for name in sides}
    for text in texts:
        for name, both in sides.items():
            for side, places in zip(both, counts[name], strict=True):
                side.count(text, places)
    return counts


def _pattern(context: str) -> re.Pattern[str]:
    return re.compile(re.sub("NAME|REF|ITEM", lambda match: WORDS[match[0]], context))
