"""Which of a run's circuits a verb means: by task, seed and settings.

`--where target_loss=0.3 seed=1` names what a circuit must have; several values of one name are alternatives.
"""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thinwire.circuits.artefact import load_circuit
from thinwire.circuits.graph import Circuit
from thinwire.errors import UserError
from thinwire.frontier.compare import smallest
from thinwire.runs.settings import DEFAULT_WORDS, DEFAULTS, PLAIN, asked_name, text
from thinwire.runs.trained import Trained

NAMES = ("task", "settings", *DEFAULTS)
"""What `--where` can ask for: a task, the first letters of the settings' hash, the seed and every setting."""


@dataclass(frozen=True)
class Where:
    """Conditions on circuits; without any every circuit meets them."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name -> the texts that it may have."""

    @classmethod
    def of(cls, words: Iterable[str]) -> "Where":
        """From words such as `seed=1`. Raises `UserError` for an unknown name or a word without a value."""
        values: dict[str, tuple[str, ...]] = {}
        for word in words:
            name, is_set, value = word.partition("=")
            name = name.replace("-", "_")
            if not is_set or not value:
                raise UserError(f"--where {word} has no value; write it as in: --where seed=1 target_loss=0.3")
            if name not in NAMES:
                close = difflib.get_close_matches(name, NAMES, n=1)
                hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(NAMES)}"
                raise UserError(f"--where knows no {name}; {hint}")
            values[name] = (*values.get(name, ()), value)
        return cls(values)

    def admits(self, path: Path, circuit: Circuit) -> bool:
        """Whether the circuit at `path` meets every condition."""
        left_out = DEFAULTS if circuit.hyperparameters else {}  # another tool's circuit states no settings at all
        has = {**left_out, **circuit.hyperparameters, "task": circuit.task, "seed": circuit.seed}
        return all(
            path.parent.name.startswith(allowed) if name == "settings" else _is_one_of(has.get(name), allowed)
            for name, allowed in self.values.items()
        )

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, allowed in self.values.items() for value in allowed)


def _is_one_of(value: Any, allowed: Sequence[str]) -> bool:
    if isinstance(value, float):
        return any(_number(word) == value for word in allowed)
    return text(value) in allowed


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


@dataclass(frozen=True)
class Choice:
    """One circuit of every task, all of them asked for the same."""

    circuits: Mapping[str, Path]
    """Task -> its directory."""
    asked: str
    """Settings that differ from the defaults, of those that say what was asked of the circuits."""
    others: Mapping[str, int]
    """The same of circuits that were left out because something else was asked of them -> their number."""

    @property
    def rule(self) -> str:
        """How these circuits were chosen, in words."""
        said = DEFAULT_WORDS if self.asked == PLAIN else self.asked
        words = (
            f"Of a task's circuits with {said} this is the smallest that met its target on validation pairs, whatever "
            f"gate price, steps and seed found it."
        )
        if self.others:
            left = ", ".join(f"{count} with {name}" for name, count in self.others.items())
            words += f" Circuits of which something else was asked stand elsewhere: {left}."
        return words


def circuits_of(run: Trained, paths: Sequence[str | Path] = (), where: Sequence[str] = ()) -> list[Path]:
    """The named directories, or all of the run's circuits, that meet the conditions `where`.

    Raises `UserError` when there are none.
    """
    found = select([Path(path) for path in paths] or run.circuit_directories(), Where.of(where))
    if not found:
        raise UserError(f"{run.home} holds no circuits; find some with: thinwire prune {run.home} single_double_quote")
    return found


def choose_circuits(run: Trained, where: Sequence[str] = ()) -> Choice:
    """The smallest circuit of every task of a run, as `choose` says. Raises `UserError` as it and `circuits_of` do."""
    return choose(circuits_of(run, where=where))


def select(paths: Iterable[Path], where: Where | None = None) -> list[Path]:
    """The directories whose circuits meet `where`. Raises `UserError` when there are circuits and none does."""
    paths = list(paths)
    if where is None or not where.values:
        return paths
    found = [path for path in paths if where.admits(path, load_circuit(path).circuit)]
    if paths and not found:
        raise UserError(f"no circuit here has {where}; thinwire eval RUN --circuits lists the {len(paths)} there are")
    return found


def choose(paths: Iterable[Path], where: Where | None = None) -> Choice:
    """The smallest circuit of every task, never mixing what was asked of them.

    Circuits of the default settings come first; without any, those there are, if the same was asked of all. Raises
    `UserError` where it was not, and for no circuits.
    """
    found = {path: load_circuit(path).circuit for path in select(paths, where)}
    asked = {path: asked_name(circuit.hyperparameters) for path, circuit in found.items()}
    counts = Counter(asked.values())
    if not counts:
        raise UserError("there are no circuits to choose from; find some with: thinwire prune RUN TASK")
    if PLAIN not in counts and len(counts) > 1:
        raise UserError(
            f"these circuits were asked for different things ({'; '.join(sorted(counts))}); choose with --where, such "
            f"as: --where {sorted(counts)[0]}"
        )
    chosen = PLAIN if PLAIN in counts else next(iter(counts))
    by_task: dict[str, list[Path]] = {}
    for path, name in asked.items():
        if name == chosen:
            by_task.setdefault(found[path].task, []).append(path)
    return Choice(
        {task: choices[smallest([found[path] for path in choices])] for task, choices in by_task.items()},
        chosen,
        {name: count for name, count in sorted(counts.items()) if name != chosen},
    )
