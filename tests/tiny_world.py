"""A world small enough to learn in seconds: a corpus of a few tasks' own prompts and answers, and a model of it."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from thinwire.data.config import DataConfig
from thinwire.model.config import ModelConfig
from thinwire.pruning.config import PruneConfig
from thinwire.tasks.jsonl import split_of
from thinwire.tasks.registry import get_task
from thinwire.tasks.task import SPLITS
from thinwire.training.config import RunConfig, TrainConfig
from thinwire.verification.budget import BUDGETS, Budget

SOLVED = "while_return_true"
"""What the tiny model solves after its few steps."""
HARDER = "single_double_quote"
"""What it has answers for, and learns more slowly; solved too."""
N_FILES = 20


def write_corpus(folder: Path) -> Path:
    """Every line of the corpus is a prompt of one of the two tasks with its answer behind it."""
    lines = []
    for name in (SOLVED, HARDER):
        task = get_task(name)
        answers = task.alternatives[0]
        for split in SPLITS:
            for pair in task.pairs(split)[:128]:
                lines += [pair.clean + answers.answer, pair.corrupt + answers.other]
    Random(0).shuffle(lines)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(N_FILES):
        (folder / f"m{i}.py").write_text("".join(lines[i::N_FILES]))
    return folder


def write_small_corpus(folder: Path, n_functions: int = 40) -> Path:
    """Six files of functions that differ in a number: enough to learn a tokenizer of 288 tokens from."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(6):
        lines = [f"def f{i}_{j}(value, other={j}):\n    return value[{j}] + other\n\n" for j in range(n_functions)]
        (folder / f"m{i}.py").write_text("".join(lines))
    return folder


def tiny_config(
    corpus: Path, *, d_model: int = 64, density: float = 0.3, steps: int = 240, recipe: str = "tiny"
) -> RunConfig:
    """One layer, 16 sequences of 32 tokens a step; dense where `density` is 1."""
    model = ModelConfig(
        vocab_size=448,
        context=32,
        n_layer=1,
        d_model=d_model,
        activation_frac=0.5 if density < 1 else 1.0,
        bigram=False,
    )
    train = TrainConfig(
        n_tokens=steps * 16 * model.context,
        batch_size=16,
        density=density,
        min_per_line=2,
        eval_every_steps=80,
        checkpoint_every_steps=steps,
    )
    return RunConfig(DataConfig(str(corpus), heldout_frac=0.2), model, train, recipe=recipe, threads=1)


def quick(**changes: Any) -> PruneConfig:
    """A search of a moment."""
    return PruneConfig(**({"steps": 30, "batch_pairs": 16, "learning_rate": 6e-2, "means_tokens": 2048} | changes))


def few_samples() -> Budget:
    """A verification of a moment."""
    counts: dict[str, Any] = dict.fromkeys(("random_sets", "null_pairs", "pairs", "survey_pairs", "search_pairs"), 3)
    counts |= dict.fromkeys(("nodes", "edges", "draws", "restarts", "adversary_steps", "other_pairs"), 2)
    return replace(BUDGETS["fast"], **counts, text_windows=2, shifted_pairs=2)


def write_own_task(path: Path, n_test: int = 8, first_test: int = 0) -> Path:
    """A .jsonl file of the solved task's pairs; `n_test` and `first_test` choose which test pairs it has."""
    task = get_task(SOLVED)
    answers = task.alternatives[0]
    pairs = [pair for split in SPLITS for pair in task.pairs(split)[:128]]
    by_split = {split: [pair for pair in pairs if split_of(pair) == split] for split in SPLITS}
    chosen = by_split["train"][:48] + by_split["validation"][:16] + by_split["test"][first_test : first_test + n_test]
    lines = [
        {"clean": pair.clean, "corrupt": pair.corrupt, "answer": answers.answer, "other": answers.other}
        for pair in chosen
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
