"""Under what settings the circuits of a report were found, in words: what a page says of all of them, or of each."""

from collections.abc import Iterable, Sequence

from thinwire.circuits.graph import Circuit
from thinwire.viewer.contract import Report, TaskModel
from thinwire.viewer.wording import listing

_STAND_INS = {
    "mean": "held at its average over held-out code",
    "task_mean": "held at its average over the task's own prompts",
    "zero": "set to zero",
}


def stand_in(circuit: Circuit) -> str:
    """What happens to a channel that a circuit leaves out."""
    return _STAND_INS.get(circuit.ablation, f"replaced ({circuit.ablation})")


def shown(report: Report) -> list[TaskModel]:
    """All circuits of a page."""
    return [part for task in report.tasks for part in task.models.values()]


def distinct(words: Iterable[str]) -> list[str]:
    """Each once, in the order in which they come."""
    return list(dict.fromkeys(words))


def targets(parts: Sequence[TaskModel]) -> str:
    """`0.15`, or `0.15 and 0.3` where circuits were asked for different losses."""
    return listing([f"{value:g}" for value in sorted({part.circuit.target_loss for part in parts})])


def stand_ins(parts: Sequence[TaskModel]) -> str:
    """`held at its average`, or all that there are."""
    return listing(distinct(stand_in(part.circuit) for part in parts), "or")


def differ(report: Report) -> bool:
    """Whether the circuits of a page were found under more than one setting, so that each has to say its own."""
    return len({part.setting for part in shown(report)}) > 1


def settings_sentence(report: Report) -> str:
    """One sentence for a table of circuits."""
    names = distinct(part.setting for part in shown(report))
    if len(names) == 1:
        return f"All were found with: {names[0]}."
    return (
        "They were found under different settings, which the table states: a size under one target or stand-in does "
        "not compare with one under another."
    )
