r"""A corpus that can teach `set_or_string_fixedvarname`: the standard library and generated functions, as two files.

    python benchmarks/current_corpus.py [FOLDER] [--functions N] [--distractors SHARE] [--seed N]
    thinwire train --recipe demo --data.source FOLDER --data.suffixes '[".jsonl"]' \
        --data.tokenizer runs/demo/sparse/tokenizer.json --out RUN

The standard library never has a variable `current` that holds a set or a string (docs/tasks.md), so it cannot teach the
task. The functions are made of the task's TRAIN pairs alone, whose templates and names are in neither validation nor
test pairs: one or two of them share an initialiser, each goes on with its right answer, and a share of functions has a
second variable of the other type that a solver must tell from `current`. The tokenizer is the demo's: one learnt from
so many functions makes ` ''` and its newline one token and ` set()` with its newline two, so no pair would be aligned.

    def reset(self, args):
        line = ''
        current = set()
        for item in result:
            current.add(item)
        return current
"""

import argparse
import json
from pathlib import Path
from random import Random

from thinwire.data.config import DataConfig
from thinwire.data.corpus import SPLITS, read_corpus
from thinwire.tasks.family import load_family, names
from thinwire.tasks.task import Pair

TASK = "set_or_string_fixedvarname"


def function_text(pairs: list[Pair], is_set: bool, distractor: bool, random: Random) -> str:
    """One function that uses `current` as in `pairs`, which share their first line's depth."""
    pools = names("train")
    prompts = [(pair.clean if is_set else pair.corrupt).split("\n") for pair in pairs]
    initialiser = prompts[0][0]
    indent = initialiser[: len(initialiser) - len(initialiser.lstrip())]
    used = random.sample(pools["name"], 3)
    lines = [f"{indent[4:]}def {random.choice(pools['func'])}({', '.join(random.sample(['self', *used], 2))}):"]
    other = [f"{indent}{used[2]} = {chr(39) * 2 if is_set else 'set()'}"] if distractor else []
    lines += [*other, initialiser] if random.random() < 0.5 else [initialiser, *other]
    for prompt in prompts:
        value = random.choice(used[:2])
        lines += [*prompt[1:-1], prompt[-1] + (f".add({value})" if is_set else f" += {value}")]
    return "\n".join([*lines, f"{indent}return current"]) + "\n"


def functions(count: int, distractors: float, seed: int) -> list[str]:
    """`count` functions, sets and strings alike often."""
    random, by_depth = Random(seed), {}
    for pair in load_family(TASK).pairs("train"):
        by_depth.setdefault(len(pair.clean) - len(pair.clean.lstrip()), []).append(pair)
    texts = []
    for i in range(count):
        pool = by_depth[random.choice(sorted(by_depth))]
        pairs = random.sample(pool, random.choice((1, 2)))
        texts.append(function_text(pairs, i % 2 == 0, random.random() < distractors, random))
    return texts


def write_lines(path: Path, texts: list[str]) -> None:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs/current-corpus"))
    parser.add_argument("--functions", type=int, default=60_000)
    parser.add_argument("--distractors", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    library = [text for split in SPLITS for text in read_corpus(DataConfig()).texts(split)]
    made = functions(arguments.functions, arguments.distractors, arguments.seed)
    write_lines(arguments.folder / "stdlib.jsonl", library)
    write_lines(arguments.folder / "functions.jsonl", made)
    n_library, n_made = sum(map(len, library)), sum(map(len, made))
    print(f"{len(library)} files, {len(made)} functions; functions are {n_made / (n_library + n_made):.1%} of the text")


if __name__ == "__main__":
    main()
