"""List, show and check tasks."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thinwire.circuits.prompts import Prompts, logit_difference, task_accuracy, task_loss
from thinwire.errors import UserError
from thinwire.progress import Progress, silent
from thinwire.runs.run import Run, load_run
from thinwire.tasks.registry import all_tasks, get_task, resolve_task
from thinwire.tasks.shifts import shifts_of
from thinwire.tasks.task import SPLITS, Split, Task
from thinwire.tasks.tokens import tokenize

SOLVED_ACCURACY = 0.95
"""A model solves a task when it is right on this share of validation prompts ..."""
SOLVED_LOSS = 0.15
"""... at this task loss or less, nats: no circuit can do better than the model it is cut from by much."""
SOLVED_MEANS = f"accuracy at least {SOLVED_ACCURACY} at a loss of at most {SOLVED_LOSS} nats"


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
        "shifts": list(shifts_of(task)),
        "n_pairs": {split: len(found) for split, found in pairs.items()},
        "pairs": {split: [asdict(pair) for pair in found[:n_pairs]] for split, found in pairs.items()},
    }


def check_task(run: Run, task: str | Task, split: Split = "validation") -> dict[str, Any]:
    """How the whole model does on one task: available (or the reason why not), loss, accuracy, solved.

    A task that this run cannot be asked is a row like any other, with `reason`; only an unknown name or a broken file
    raises `UserError`.
    """
    task = resolve_task(task)
    row: dict[str, Any] = dict.fromkeys(("answers", "n_pairs", "aligned", "loss", "accuracy", "reason"))
    row = {"name": task.name, "available": False, "solved": False, **row}
    try:
        pairs = tokenize(task, run.tokenizer, split, run.config.model.context)
    except UserError as error:
        return row | {"reason": str(error)}
    prompts = Prompts.of(pairs, run.device)
    difference = logit_difference(run.model, prompts)
    loss, accuracy = float(task_loss(difference, prompts.sign)), task_accuracy(difference, prompts.sign)
    return row | {
        "available": True,
        "answers": list(pairs.answer_texts),
        "n_pairs": prompts.n_pairs,
        "aligned": bool(pairs.aligned.all()),
        "loss": loss,
        "accuracy": accuracy,
        "solved": accuracy >= SOLVED_ACCURACY and loss <= SOLVED_LOSS,
    }


def check_tasks(
    run_path: Path, tasks: Sequence[str] = (), *, device: str = "auto", progress: Progress = silent
) -> dict[str, Any]:
    """`check_task` on validation pairs for the named tasks and files, or for every built-in task."""
    run = load_run(run_path, device)
    found = [get_task(name) for name in tasks] or list(all_tasks().values())
    rows = []
    with progress("check tasks", total=len(found), unit="task") as advance:
        for task in found:
            rows.append(check_task(run, task))
            advance(1)
    return {"run": str(run_path), "split": "validation", "solved_means": SOLVED_MEANS, "tasks": rows}
