"""The part of docs/tasks.md that follows from the tasks. After a change to a task: python tests/task_page.py"""

import json
import re
from pathlib import Path

from thinwire.tasks.registry import FURTHER, PAPER, all_tasks
from thinwire.tasks.shifts import shifts_of
from thinwire.tasks.task import Answers, Task

PAGE = Path(__file__).parent.parent / "docs" / "tasks.md"
BLOCK = re.compile(r"(?<=<!-- from the tasks -->\n).*(?=<!-- end -->)", re.DOTALL)


def entry(task: Task) -> str:
    """One task: what it asks, what does not help, its first train pair with its first answers, its shifts."""
    pair, answers = task.pairs("train")[0], task.alternatives[0]
    line = {"clean": pair.clean, "corrupt": pair.corrupt, "answer": answers.answer, "other": answers.other}
    parts = [
        f"### `{task.name}`",
        task.description,
        f"Excluded cue: {task.excluded_cue}",
        f"```json\n{json.dumps(line)}\n```",
        f"Answers, the first that a tokenizer has: {'; '.join(map(alternative, task.alternatives))}. "
        f"Shifts: {', '.join(f'`{shift}`' for shift in shifts_of(task))}.",
    ]
    return "\n\n".join(parts) + "\n"


def alternative(answers: Answers) -> str:
    return f"`{answers.answer!r}` / `{answers.other!r}`"


def generated() -> str:
    tasks = all_tasks()
    paper = "\n".join(entry(tasks[name]) for name in PAPER)
    further = "\n".join(entry(tasks[name]) for name in FURTHER)
    return f"## The paper's twenty\n\n{paper}\n## Further tasks\n\n{further}"


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: generated(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
