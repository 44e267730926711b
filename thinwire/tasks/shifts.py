"""Shifts: the same behaviour on prompts unlike those that a circuit was found and tested on.

What a circuit does there tells whether it computes the behaviour or fits its templates. Every shift changes one thing:
1. `longer_names`: the test templates with names of several tokens (templates/shifts.toml);
2. `more_context`: three unrelated statements in front;
3. `deeper`: the whole prompt eight spaces deeper;
4. those of one family alone, templates in its own file under `[shifts]`: `dilution_8` puts eight more elements
   between an opening bracket and the end of the prompt, `other_initialiser` writes the empty string as `str()`.

No shift changes a task's answers: a family whose answers follow from what a shift changes has no such shift.
The first three can be made of every split's own templates and names; those of one family are for testing alone.
Source for the dilution: Gao et al. 2025, whose bracket circuit averages over its context and fails on long lists.
"""

from functools import cache
from itertools import pairwise

from thinwire.errors import UserError
from thinwire.tasks.family import Family, names, read_template_file
from thinwire.tasks.task import Pair, Split, Task
from thinwire.tasks.template import CONTRAST, Pools

GENERIC = ("longer_names", "more_context", "deeper")
N_PAIRS = 128
"""Pairs of a shift at most: 256 prompts."""
CONTEXT = ("$name7 = $name8", "$name6.$func9($name5)", "self.$name9 = $number9")
"""Statements that stand in front under `more_context`; no template uses their slots."""
DEEPER = " " * 8


def shifts_of(task: Task) -> tuple[str, ...]:
    """The shifts that a task has: none unless it is a built-in one."""
    if not isinstance(task, Family):
        return ()
    return tuple(shift for shift in dict.fromkeys((*GENERIC, *task.shifts)) if task.shifts.get(shift, True))


def shifted_pairs(task: Task, shift: str, split: Split = "test") -> list[Pair]:
    """At most `N_PAIRS` distinct pairs of a task under one of `shifts_of(task)`, in a fixed order.

    Of the templates and names of `split`. Raises `UserError` if the task has no such shift, or not on this split.
    """
    if not isinstance(task, Family) or shift not in shifts_of(task):
        there = ", ".join(shifts_of(task)) or "none: only built-in tasks have shifts"
        raise UserError(f"task {task.name} has no shift {shift!r}; there are: {there}")
    if split != "test" and shift not in GENERIC:
        there = ", ".join(name for name in shifts_of(task) if name in GENERIC) or "none"
        raise UserError(f"shift {shift!r} of task {task.name} has test prompts only; a scope can hold: {there}")
    pools = names(split) if shift != "longer_names" else long_names() if split == "test" else joined_names(split)
    own = set(task.pairs(split))  # a template without slots gives the same pair again
    part = shift if split == "test" else f"{shift}/{split}"
    return [pair for pair in task.generate(_templates(task, shift, split), pools, part, N_PAIRS) if pair not in own]


@cache
def long_names() -> Pools:
    """Pool -> names of several tokens each, which are in no split."""
    return {pool: tuple(values.split()) for pool, values in read_template_file("shifts.toml").items()}


@cache
def joined_names(split: Split) -> Pools:
    """Pool -> names of several tokens each, made of a split's own names."""
    joined = {"name": "_", "plain": "_", "func": "_"}
    return {
        pool: tuple(f"{first}{joined.get(pool, '')}{second}" for first, second in pairwise((*values, values[0])))
        for pool, values in names(split).items()
    }


def _templates(family: Family, shift: str, split: Split) -> tuple[str, ...]:
    own, templates = family.shifts.get(shift), family.templates[split]
    if own:
        return own
    if shift == "more_context":
        return tuple(_with_context(template) for template in templates)
    return tuple(_indented(template) for template in templates) if shift == "deeper" else templates


def _with_context(template: str) -> str:
    """`template` behind three statements, which stand as deep as its clean prompt begins."""
    first_line = CONTRAST.sub(r"\1", template).split("\n")[0]
    indent = " " * (len(first_line) - len(first_line.lstrip(" ")))
    return "".join(f"{indent}{line}\n" for line in CONTEXT) + template


def _indented(template: str) -> str:
    return DEEPER + template.replace("\n", f"\n{DEEPER}")
