"""The part of docs/commands.md that follows from the parsers. After a change to a verb: python tests/command_page.py"""

import argparse
import re
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from thinwire.cli.arguments import new_parser
from thinwire.cli.registry import VERBS
from thinwire.cli.verb import Verb

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"
BLOCK = re.compile(r"(?<=<!-- from the parsers -->\n).*(?=<!-- end -->)", re.DOTALL)
EVERYWHERE = ("help", "json", "print_config")
"""Options of every verb, which the page explains once."""


def generated() -> str:
    return "\n".join(entry(name, verb) for name, verb in VERBS.items())


def entry(name: str, verb: Verb[Any]) -> str:
    """One verb: what it does, how it is called, an example, and a row for each argument."""
    parser = new_parser(name, verb.usage, verb.summary, verb.example)
    verb.add_arguments(parser, [])
    parts = [
        f"## `{name}`",
        verb.summary,
        f"```text\nthinwire {name} {verb.usage}".rstrip() + "\n```",
        f"```sh\n{verb.example}\n```",
    ]
    if rows := [row(action) for action in parser._actions if is_listed(action)]:
        parts.append("\n".join(["| argument | takes | without it | what |", "|---|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def is_listed(action: argparse.Action) -> bool:
    return action.help != argparse.SUPPRESS and action.dest not in EVERYWHERE


def row(action: argparse.Action) -> str:
    name = ", ".join(f"`{spelling}`" for spelling in action.option_strings) or f"`{action.dest.upper()}`"
    cells = (name, takes(action), without(action), " ".join((action.help or "").split()))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def takes(action: argparse.Action) -> str:
    """Values that an argument may have, in words."""
    if action.nargs == 0:
        return ""
    kind = getattr(action, "_typehint", None)
    some = {"*": "any number: ", "+": "one or more: "}.get(str(action.nargs), "")
    return some + (
        "file" if action.dest == "config" or action.metavar == "CONFIG" else kinds(kind or action.choices or str)
    )


def kinds(kind: Any) -> str:
    """A type in words: `number`, or the values of a choice."""
    if isinstance(kind, list | tuple):
        return ", ".join(f"`{value}`" for value in kind)
    if get_origin(kind) is Literal:
        return kinds(get_args(kind))
    if inner := [part for part in get_args(kind) if part not in (NoneType, Ellipsis)]:
        listed = " or ".join(map(kinds, inner))
        return f"[{listed}, ...]" if get_origin(kind) is tuple else listed
    words = {int: "whole number", float: "number", bool: "`true`, `false`", Path: "path", str: "text"}
    return words[kind]


def without(action: argparse.Action) -> str:
    """What holds when an argument is left out; empty where the help says it or nothing does."""
    if action.required:
        return "must be given"
    value = action.default
    if value in (None, "", (), [], False, argparse.SUPPRESS):
        return ""
    return f"`[{', '.join(map(str, value))}]`" if isinstance(value, list | tuple) else f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: generated(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
