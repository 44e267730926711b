"""How often does the standard library go on as a task says? The right answer's share beside the wrong one's.

    python benchmarks/task_contexts.py            every task: places found, and what follows them
    python benchmarks/task_contexts.py --json     the same as one document

`clean` and `corrupt` are the places in the training split of the standard library that look like a task's sides, by the
regular expressions in task_contexts.toml. A task is natural where the right answer follows often and the wrong one
hardly ever: a model of this corpus can learn it. Few places mean that only a large corpus teaches it.
"""

import argparse
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from thinwire.data.config import DataConfig
from thinwire.data.corpus import read_corpus
from thinwire.tasks.registry import all_tasks

WORDS = {
    "NAME": r"[A-Za-z_]\w*(?!\w)",
    "REF": r"[A-Za-z_]\w*(?!\w)(?:\.[A-Za-z_]\w*(?!\w))?(?!\.\w)",
    "ITEM": r"(?:[A-Za-z_]\w*|\d+)(?!\w)",
}
LOOK_AHEAD = 16
"""Characters that an answer has at most."""


def following(text: str, context: str) -> list[str]:
    """What follows each place that `context` matches."""
    pattern = re.sub("NAME|REF|ITEM", lambda match: WORDS[match[0]], context)
    return [text[match.end() : match.end() + LOOK_AHEAD] for match in re.finditer(pattern, text)]


def shares(found: list[str], right: str, wrong: str) -> dict[str, Any]:
    """Number of places, and the shares that go on with the right and with the wrong answer; the longer match counts."""
    longer, shorter = sorted((right, wrong), key=len, reverse=True)
    counts = {longer: sum(rest.startswith(longer) for rest in found)}
    counts[shorter] = sum(rest.startswith(shorter) and not rest.startswith(longer) for rest in found)
    n = max(len(found), 1)
    return {"places": len(found), "right": counts[right] / n, "wrong": counts[wrong] / n}


def measure() -> list[dict[str, Any]]:
    contexts = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    text = "\n".join(read_corpus(DataConfig()).texts("train"))
    rows = []
    for name, task in all_tasks().items():
        first = task.alternatives[0]
        answer, other = contexts[name].get("answers", (first.answer, first.other))
        clean = shares(following(text, contexts[name]["clean"]), answer, other)
        corrupt = shares(following(text, contexts[name]["corrupt"]), other, answer)
        rows.append({"task": name, "clean": clean, "corrupt": corrupt})
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    print(
        f"{'task':28} {'clean: places':>14} {'right':>7} {'wrong':>7} {'corrupt: places':>17} {'right':>7} {'wrong':>7}"
    )
    for row in rows:
        clean, corrupt = row["clean"], row["corrupt"]
        print(
            f"{row['task']:28} {clean['places']:13,} {clean['right']:7.1%} {clean['wrong']:7.1%} "
            f"{corrupt['places']:15,} {corrupt['right']:7.1%} {corrupt['wrong']:7.1%}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    if parser.parse_args().json:
        json.dump({"python": sys.version.split()[0], "tasks": measure()}, sys.stdout, indent=2)
    else:
        show(measure())
