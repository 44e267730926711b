"""What a person sees when a verb is done: its result as tables on stdout, or as JSON.

Single values become a list of fields, nested ones a table each; verbs whose results nest deeper have a view of their
own, which only rearranges rows.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from thinwire.cli.console import value_text
from thinwire.storage.files import to_json

Row = Mapping[str, Any]

PLAIN_WIDTH = 160
"""Width of tables in characters when stdout is no terminal."""


def plain(value: Any) -> Any:
    """A result as `--json` prints it: the fields of a record, unless it says itself how it is written (`to_dict`)."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields_of(value)}
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def show_json(result: Any) -> None:
    """The result as the one JSON document on stdout."""
    sys.stdout.write(to_json(plain(result)))
    sys.stdout.flush()


def show_any(console: Console, result: Any) -> None:
    """Single values as a list of fields, nested ones as a table each."""
    values = plain(result)
    single = {name: value for name, value in values.items() if not _is_nested(value)}
    if single:
        console.print(fields(single))
    for name, value in values.items():
        if _is_nested(value):
            console.print(table(label(name), _rows(name, value)))


def show_verbs(summaries: Mapping[str, str]) -> None:
    """The help of the command as a whole."""
    console = new_console()
    console.print("Train weight-sparse transformers, find their task circuits, check and show them.\n")
    console.print(grid([f"  thinwire {verb}", summary] for verb, summary in summaries.items()))
    console.print("\nthinwire VERB --help explains a verb and shows an example. Start with: thinwire demo")
    console.print("thinwire --print_completion SHELL writes what completes this command in bash, zsh or fish.")


def new_console() -> Console:
    """Tables go here: as wide as the terminal, or `PLAIN_WIDTH`."""
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=PLAIN_WIDTH)


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


def fields(values: Row) -> Table:
    """One line for each value, its name in front."""
    return grid([Text(label(name), style="dim"), value_text(value, name)] for name, value in values.items())


def grid(lines: Iterable[Sequence[str | Text]]) -> Table:
    """Lines of cells, aligned, without a head."""
    found = Table.grid(padding=(0, 2))
    for line in lines:
        found.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in line))
    return found


def table(title: str, rows: Iterable[Row]) -> Table:
    """A table with the union of the rows' fields as columns; numbers stand to the right."""
    found = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for name in columns:
        is_number = all(isinstance(row.get(name), int | float | None) for row in rows)
        found.add_column(label(name), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        found.add_row(*(Text(value_text(row.get(name), name)) for name in columns))
    return found


def label(name: str) -> str:
    """A field's name as a person reads it."""
    return name.removeprefix("n_").replace("_", " ")
