"""Tasks as files, for whoever works with other tools.

    OUT/tasks.json                 what each task is, its answers and its files
    OUT/<task>/<split>.jsonl       one pair a line: clean, corrupt, answer, other
    OUT/<task>/shift-<name>.jsonl  shifted test prompts
    OUT/manifest.json              checksums

Each .jsonl file is one of own pairs too (docs/tasks.md).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from thinwire.storage.files import new_directory, to_json, write_atomic
from thinwire.tasks.registry import all_tasks, get_task
from thinwire.tasks.shifts import shifted_pairs, shifts_of
from thinwire.tasks.task import SPLITS, Answers, Pair


@dataclass(frozen=True)
class ExportedTask:
    """One task among files."""

    name: str
    version: int
    description: str
    excluded_cue: str
    alternatives: tuple[Answers, ...]
    """Texts of the two answers, by preference: a tokenizer uses the first that it has as two single tokens."""
    files: dict[str, int]
    """File -> pairs in it, with the first alternative's answers."""


@dataclass(frozen=True)
class ExportedTasks:
    """What `thinwire tasks export` prints, and tasks.json."""

    out: str
    tasks: tuple[ExportedTask, ...]


def export_tasks(out: str | Path, tasks: Sequence[str] = ()) -> ExportedTasks:
    """Write the named built-in tasks, or all, into the new directory `out`.

    Raises `UserError` for an unknown name, or when `out` is not empty.
    """
    found = [get_task(name) for name in tasks or all_tasks()]
    with new_directory(Path(out)) as directory:
        rows = []
        for task in found:
            (directory / task.name).mkdir()
            parts = {split: task.pairs(split) for split in SPLITS}
            parts |= {f"shift-{shift}": shifted_pairs(task, shift) for shift in shifts_of(task)}
            files = {f"{task.name}/{part}.jsonl": pairs for part, pairs in parts.items()}
            for name, pairs in files.items():
                write_atomic(directory / name, _lines(pairs, task.alternatives[0]))
            counts = {name: len(pairs) for name, pairs in files.items()}
            rows.append(
                ExportedTask(task.name, task.version, task.description, task.excluded_cue, task.alternatives, counts)
            )
        result = ExportedTasks(str(out), tuple(rows))
        write_atomic(directory / "tasks.json", to_json({"tasks": [asdict(task) for task in rows]}))
    return result


def _lines(pairs: Iterable[Pair], answers: Answers) -> str:
    ends = {"answer": answers.answer, "other": answers.other}
    rows = ({"clean": pair.clean, "corrupt": pair.corrupt, **ends} for pair in pairs)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
