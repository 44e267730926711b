"""List, show and check tasks."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from thinwire.circuits.prompts import Prompts
from thinwire.circuits.score import last_logits, score
from thinwire.progress import Progress, silent
from thinwire.tasks.answers import Unavailable
from thinwire.tasks.registry import all_tasks, get_task
from thinwire.tasks.task import SPLITS, Split
from thinwire.tasks.tokens import tokenize
from thinwire.workflows.run import Run, load_run

SOLVED_ACCURACY = 0.95
"""A model solves a task when it is right on this share of validation prompts ..."""
SOLVED_LOSS = 0.15
"""... at this task loss or less, nats: no circuit can do better than the model it is cut from by much."""


def list_tasks() -> dict[str, Any]:
    """Names and descriptions of all tasks."""
    found = all_tasks().values()
    return {"tasks": [{"name": t.name, "version": t.version, "description": t.description} for t in found]}


def show_task(name: str, n_pairs: int = 3) -> dict[str, Any]:
    """One task with its first pairs of every split."""
    task = get_task(name)
    pairs = {split: task.pairs(split) for split in SPLITS}
    return {
        "name": task.name,
        "version": task.version,
        "description": task.description,
        "excluded_cue": task.excluded_cue,
        "alternatives": [asdict(answers) for answers in task.alternatives],
        "n_pairs": {split: len(found) for split, found in pairs.items()},
        "pairs": {split: [asdict(pair) for pair in found[:n_pairs]] for split, found in pairs.items()},
    }


def check_task(run: Run, name: str, split: Split = "validation") -> dict[str, Any]:
    """How the whole model does on one task: available, loss, accuracy, solved."""
    task = get_task(name)
    try:
        pairs = tokenize(task, run.tokenizer, split, run.config.model.context)
    except Unavailable as error:
        return {"name": task.name, "available": False, "reason": str(error), "solved": False}
    prompts = Prompts.of(pairs, run.device)
    logits = last_logits(run.model, prompts)
    found = score(logits, logits, prompts)
    return {
        "name": task.name,
        "available": True,
        "answers": list(pairs.answer_texts),
        "n_pairs": prompts.n_pairs,
        "loss": found.loss,
        "accuracy": found.accuracy,
        "solved": found.accuracy >= SOLVED_ACCURACY and found.loss <= SOLVED_LOSS,
    }


def check_tasks(run_path: Path, *, device: str = "auto", progress: Progress = silent) -> dict[str, Any]:
    """`check_task` for every task, on validation pairs."""
    run = load_run(run_path, device)
    names = list(all_tasks())
    rows = []
    with progress("check tasks", total=len(names), unit="task") as advance:
        for name in names:
            rows.append(check_task(run, name))
            advance(1)
    return {"run": str(run_path), "split": "validation", "tasks": rows}
