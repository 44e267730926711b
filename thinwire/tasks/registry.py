"""All tasks by name."""

import re
from difflib import get_close_matches
from pathlib import Path
from typing import cast

from thinwire.errors import UserError
from thinwire.tasks.family import Family, load_family
from thinwire.tasks.jsonl import load_jsonl_task
from thinwire.tasks.task import Task

PAPER = (
    "single_double_quote",
    "bracket_counting",
    "set_or_string",
    "set_or_string_fixedvarname",
    "with_as",
    "with_open",
    "for_while",
    "else_elif",
    "if_ternary",
    "if_equals",
    "fstring_brace",
    "bracket_brace",
    "var_swap",
    "var_if",
    "indent_for",
    "while_return_true",
    "lambda_func",
    "enumerate_range",
    "final_kwarg",
    "class_init",
)
"""The twenty tasks of Gao et al. 2025, in the order of method and tables."""
MEMBERS = ("name", "version", "description", "excluded_cue", "alternatives", "pairs")
"""What an object needs to be a task."""
FURTHER = ("for_if_name", "except_raise", "from_import")
"""Easy tasks that the paper does not have, for small models."""


def all_tasks() -> dict[str, Task]:
    """Name -> task for every built-in task, the paper's first, in a fixed order."""
    return {name: load_family(name) for name in (*PAPER, *FURTHER)}


def get_task(name: str) -> Task:
    """A built-in task by its name, or the task of a file whose name ends in `.jsonl`.

    Raises `UserError` with the closest names if there is none, and as `load_jsonl_task` and `resolve_task` do.
    """
    if name.endswith(".jsonl"):
        return resolve_task(load_jsonl_task(Path(name)))
    known = (*PAPER, *FURTHER)
    if name in known:
        return load_family(name)
    close = get_close_matches(name, known)
    hint = f"did you mean {', '.join(close)}? " if close else ""
    own = "" if name.isidentifier() else "; the name of a file of pairs ends in .jsonl"
    raise UserError(f"there is no task {name!r}; {hint}`thinwire tasks list` shows all{own}")


def resolve_task(task: object) -> Task:
    """`get_task` of a name; any other object must be a `Task` and is given back.

    Raises `UserError` naming the members that the object lacks, or if its name is a built-in task's or cannot name a
    folder; and as `get_task` does.
    """
    if isinstance(task, str):
        return get_task(task)
    if missing := [member for member in MEMBERS if not hasattr(task, member)]:
        raise UserError(
            f"{task!r} is no task: it lacks {', '.join(missing)}; give a name, or an object with {', '.join(MEMBERS)}"
        )
    found = cast(Task, task)
    if not isinstance(task, Family) and found.name in (*PAPER, *FURTHER):
        raise UserError(f"{found.name} is a built-in task; give your own task, or its file, another name")
    if not re.fullmatch(r"\w[\w .-]*", found.name):
        raise UserError(f"the task's name {found.name!r} cannot name a folder; use letters, digits, `_`, `-` and `.`")
    return found
