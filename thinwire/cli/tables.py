"""What a person sees when a verb is done: its result as tables on stdout, or as JSON.

A result is a plain dictionary. Single values become a list of fields, nested ones a table each; verbs whose
results nest deeper have a view of their own, which only rearranges rows.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from thinwire.cli.console import value_text
from thinwire.storage.files import to_json

Result = Mapping[str, Any]
Row = Mapping[str, Any]

PLAIN_WIDTH = 140
"""Width of tables in characters when stdout is no terminal."""


def show_json(result: Result) -> None:
    """The result as the one JSON document on stdout."""
    sys.stdout.write(to_json(result))
    sys.stdout.flush()


def show(verb: str, result: Result) -> None:
    """The result of a verb as tables on stdout."""
    console = _console()
    _VIEWS.get(verb, _show_any)(console, result)


def show_verbs(summaries: Mapping[str, str]) -> None:
    """The help of the command as a whole."""
    console = _console()
    console.print("Train weight-sparse transformers, find their task circuits, check and show them.\n")
    console.print(_grid([f"  thinwire {verb}", summary] for verb, summary in summaries.items()))
    console.print("\nthinwire VERB --help explains a verb and shows an example. Start with: thinwire demo")


def _console() -> Console:
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=PLAIN_WIDTH)


# --- views ----------------------------------------------------------------------------------------------------------


def _show_any(console: Console, result: Result) -> None:
    single = {name: value for name, value in result.items() if not _is_nested(value)}
    if single:
        console.print(_fields(single))
    for name, value in result.items():
        if _is_nested(value):
            console.print(_table(_label(name), _rows(name, value)))


def _show_demo(console: Console, result: Result) -> None:
    """One row for each task and model, means over tasks, time; the rest as fields. A dry run has no tasks yet."""
    if "tasks" not in result:
        return _show_any(console, result)
    rest = {name: value for name, value in result.items() if name not in ("geomean_edges", "edge_ratio")}
    tasks, sweeps, stages = (rest.pop(name) for name in ("tasks", "sweeps", "stages"))
    rows = [
        {"task": task, "model": model, **cells} for task, models in tasks.items() for model, cells in models.items()
    ]
    console.print(_table("task circuits", rows))
    means = [{"geometric mean of": words, **sweeps[counted]} for counted, words in _COUNTED.items()]
    console.print(_table("dense over sparse, tasks solved in both", means))
    console.print(_table("time", stages))
    console.print(_fields(rest))


_COUNTED = {
    "n_edges": "edges",
    "n_edges_unswept": "edges before the sweep of nodes",
    "n_minimal_edges": "minimal edges",
}


def _show_prune(console: Console, result: Result) -> None:
    """One row for each circuit, its test loss beside the whole model's; then sizes over seeds."""
    names = ("task", "seed", "status", "n_nodes", "n_edges")
    rows = [
        {name: circuit[name] for name in names}
        | {"minimal edges": circuit["n_minimal_edges"]}
        | {"validation loss": circuit["validation"]["loss"], "test loss": circuit["test"]["loss"]}
        | {"accuracy": circuit["test"]["accuracy"], "kl": circuit["test"]["kl"]}
        | {"model loss": circuit["model_test"]["loss"]}
        for circuit in result["circuits"]
    ]
    console.print(_table("circuits", rows))
    if any(over["n_seeds"] > 1 for over in result["tasks"].values()):
        console.print(_table("over seeds", [_over_seeds(task, over) for task, over in result["tasks"].items()]))
    if result["unavailable"]:
        console.print(_fields({f"{task}: unavailable": reason for task, reason in result["unavailable"].items()}))
    console.print(_fields({circuit["task"]: circuit["path"] for circuit in result["circuits"]}))


def _over_seeds(task: str, over: Row) -> Row:
    """Median (smallest to largest) of each size."""
    row = {"task": task, "solved": f"{over['n_solved']} of {over['n_seeds']}"}
    for name in ("n_nodes", "n_edges", "n_minimal_edges", "n_edges_unswept"):
        sizes = over[name]
        row[name] = sizes and f"{sizes['median']:g} ({sizes['smallest']} to {sizes['largest']})"
    return row | {"node overlap": over["node_overlap"]}


def _show_baselines(console: Console, result: Result) -> None:
    """One table for each task: every way of choosing at the same number of edges, and what it needs by itself."""
    for task in result["tasks"]:
        rows = [
            {"method": row["method"].replace("_", " "), "n_nodes": row["n_nodes"], "edges": row["edges"]}
            | {"they are": row["edges_are"], "validation loss": row["validation_loss"], "test loss": row["test_loss"]}
            | {"accuracy": row["test_accuracy"], "edges to target": row["n_edges_to_target"]}
            | {"swept": row["n_edges_swept"]}
            for row in task["methods"]
        ]
        console.print(_table(f"{task['task']}: at equal numbers of edges; target {task['target_loss']:g}", rows))
        console.print(_fields({"circuit": task["path"]}))


def _show_verify(console: Console, result: Result) -> None:
    """Losses of every circuit, then the outcome of every test, then what each verdict rests on."""
    losses, outcomes = [], []
    for circuit in result["circuits"]:
        alone, without = circuit["sufficiency"], circuit["necessity"]
        head = {"task": circuit["task"], "n_nodes": circuit["n_nodes"]}
        head |= {"edges judged": f"{circuit['n_judged_edges']} {circuit['judged_edges']}"}
        losses.append(
            {**head, "model loss": alone["model_loss"], "circuit alone": alone["loss"], "accuracy": alone["accuracy"]}
            | {"kl": alone["kl"], "without nodes": without["nodes_loss"], "without edges": without["edges_loss"]}
            | {"without random": without["random_mean"]}
        )
        tests = {name: part for name, part in circuit.items() if isinstance(part, Mapping) and "passed" in part}
        marks = {
            mark: ", ".join(name for name, part in tests.items() if part["verdict"] == mark)
            for mark in ("passed", "failed", "not run")
        }
        outcomes.append({"task": circuit["task"], "verdict": circuit["verdict"], **marks})
    console.print(_table("losses on test pairs", losses))
    console.print(_table(f"verdicts ({result['budget']} budget)", outcomes))
    for circuit in result["circuits"]:
        console.print(Text(f"{circuit['task']}: {circuit['verdict']}", style="bold"))
        console.print(_grid(["  -", reason] for reason in circuit["reasons"]))


def _show_check(console: Console, result: Result) -> None:
    """One row for each task; why a task is unavailable stands below the table."""
    rows = []
    for row in result["tasks"]:
        shown = {name: value for name, value in row.items() if name != "reason"}
        rows.append(shown | {"answers": row["answers"] and " ".join(map(repr, row["answers"]))})
    console.print(_table(f"whole model on {result['split']} pairs; solved: {result['solved_means']}", rows))
    console.print(_grid([row["name"], row["reason"]] for row in result["tasks"] if row["reason"]))


def _show_task(console: Console, result: Result) -> None:
    """The task's fields, then its prompt pairs."""
    rest = dict(result)
    pairs = rest.pop("pairs")
    alternatives = rest.pop("alternatives")
    rest["answers"] = "  or  ".join(f"{a['answer']!r} / {a['other']!r}" for a in alternatives)
    console.print(_fields(rest))
    rows = [
        {"split": split} | {k: repr(v) for k, v in pair.items()} for split, found in pairs.items() for pair in found
    ]
    console.print(_table("pairs", rows))


def _show_doctor(console: Console, result: Result) -> None:
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    lines: list[Sequence[str | Text]] = []
    for check in result["checks"]:
        lines.append([Text(check["status"], style=colours[check["status"]]), check["name"], check["detail"]])
        if check["remedy"]:
            lines.append(["", "", Text(check["remedy"], style="bold")])
    console.print(_grid(lines))


_VIEWS: dict[str, Callable[[Console, Result], None]] = {
    "demo": _show_demo,
    "prune": _show_prune,
    "baselines": _show_baselines,
    "verify": _show_verify,
    "tasks check": _show_check,
    "tasks show": _show_task,
    "doctor": _show_doctor,
}


# --- tables ---------------------------------------------------------------------------------------------------------


def _is_nested(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], Mapping)
    return isinstance(value, Mapping) and bool(value)


def _rows(name: str, value: Any) -> list[Row]:
    """A list's items, or a mapping's items with their key in front, in a column without a name."""
    if isinstance(value, list):
        return value
    return [{"": key, **(item if isinstance(item, Mapping) else {name: item})} for key, item in value.items()]


def _fields(values: Row) -> Table:
    return _grid([Text(_label(name), style="dim"), value_text(value, name)] for name, value in values.items())


def _grid(lines: Iterable[Sequence[str | Text]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for line in lines:
        grid.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in line))
    return grid


def _table(title: str, rows: Sequence[Row]) -> Table:
    """A table with the union of the rows' fields as columns; numbers stand to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for name in columns:
        is_number = all(isinstance(row.get(name), int | float | None) for row in rows)
        table.add_column(_label(name), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(value_text(row.get(name), name)) for name in columns))
    return table


def _label(name: str) -> str:
    return name.removeprefix("n_").replace("_", " ")
