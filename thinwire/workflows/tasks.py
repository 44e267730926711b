"""List, show and check tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.circuits.score import two_way_score
from thinwire.circuits.solved import MODEL_ACCURACY, MODEL_LOSS, model_does
from thinwire.errors import UserError
from thinwire.progress import Progress, silent
from thinwire.ranges import check_range
from thinwire.runs.run import open_run
from thinwire.runs.trained import Trained
from thinwire.tasks.answers import Unavailable
from thinwire.tasks.registry import all_tasks, get_task, resolve_task
from thinwire.tasks.shifts import shifts_of
from thinwire.tasks.task import SPLITS, Answers, Pair, Split, Task
from thinwire.tasks.tokens import tokenize

DOES_MEANS = f"accuracy at least {MODEL_ACCURACY} at a loss of at most {MODEL_LOSS} nats"


@dataclass(frozen=True)
class ListedTask:
    """What is said of a task in a list."""

    name: str
    version: int
    description: str


@dataclass(frozen=True)
class TaskList:
    """What `thinwire tasks list` prints."""

    tasks: tuple[ListedTask, ...]


@dataclass(frozen=True)
class ShownTask:
    """What `thinwire tasks show` prints."""

    name: str
    version: int
    description: str
    excluded_cue: str
    alternatives: tuple[Answers, ...]
    shifts: tuple[str, ...]
    n_pairs: Mapping[Split, int]
    """Pairs that each split has."""
    pairs: Mapping[Split, tuple[Pair, ...]]
    """The first ones of each split."""


def list_tasks() -> TaskList:
    """Names and descriptions of all tasks."""
    return TaskList(tuple(ListedTask(t.name, t.version, t.description) for t in all_tasks().values()))


def show_task(name: str, n_pairs: int = 3) -> ShownTask:
    """One task with its first pairs of every split."""
    check_range("pairs", n_pairs, "[0, 1e6]")
    task = get_task(name)
    pairs: dict[Split, list[Pair]] = {split: task.pairs(split) for split in SPLITS}
    return ShownTask(
        name=task.name,
        version=task.version,
        description=task.description,
        excluded_cue=task.excluded_cue,
        alternatives=tuple(task.alternatives),
        shifts=shifts_of(task),
        n_pairs={split: len(found) for split, found in pairs.items()},
        pairs={split: tuple(found[:n_pairs]) for split, found in pairs.items()},
    )


@dataclass(frozen=True)
class TaskCheck:
    """How the whole model does on one task; `reason` says why it could not be asked, the numbers are None then."""

    name: str
    model_does: bool = False
    answers: tuple[str, str] | None = None
    n_pairs: int | None = None
    aligned: bool | None = None
    """Whether both sides of all pairs have the same number of tokens."""
    loss: float | None = None
    accuracy: float | None = None
    reason: str | None = None
    refused: bool = False
    """Whether the task itself is wrong: an unknown name, a broken file."""


@dataclass(frozen=True)
class TaskChecks:
    """What `thinwire tasks check` prints."""

    run: str
    split: Split
    does_means: str
    """When a model does a task, in words."""
    tasks: tuple[TaskCheck, ...]


def check_task(run: Trained, task: str | Task, split: Split = "validation") -> TaskCheck:
    """How the whole model does on one task; a task that this run cannot be asked has a `reason`.

    Raises `UserError` for an unknown name or a broken file.
    """
    task = resolve_task(task)
    try:
        pairs = tokenize(task, run.tokenizer, split, run.context)
    except Unavailable as error:
        return TaskCheck(task.name, reason=str(error))
    prompts = Prompts.of(pairs, run.device)
    found = two_way_score(logit_difference(run.model, prompts), prompts)
    return TaskCheck(
        task.name,
        model_does=model_does(found),
        answers=pairs.answer_texts,
        n_pairs=prompts.n_pairs,
        aligned=bool(pairs.aligned.all()),
        loss=found.loss,
        accuracy=found.accuracy,
    )


def check_tasks(
    run_path: str | Path, tasks: Sequence[str] = (), *, device: str = "auto", progress: Progress = silent
) -> TaskChecks:
    """`check_task` on validation pairs for the named tasks and files, or for every built-in task.

    A name or file that is wrong costs the others nothing: it is a row with its reason, `refused`. Raises `UserError`
    where there are no others.
    """
    run = open_run(run_path, device)
    _ = run.model, run.tokenizer  # what is damaged there is an error, no task's reason
    rows = []
    names = list(tasks) or list(all_tasks())
    with progress("check tasks", total=len(names), unit="task") as advance:
        for name in names:
            try:
                rows.append(check_task(run, name))
            except UserError as error:
                rows.append(TaskCheck(name, reason=str(error), refused=True))
            advance(1)
    if all(row.refused for row in rows):
        raise UserError("; ".join(row.reason or "" for row in rows))
    return TaskChecks(str(run_path), "validation", DOES_MEANS, tuple(rows))
