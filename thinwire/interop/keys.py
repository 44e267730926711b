"""Configs of other programs, strictly: every key is used, renamed, known to be without effect, or refused by name."""

import json
import types
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from thinwire.errors import UserError

Keys = TypeVar("Keys")


def read_json_keys(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds. Raises `UserError` when there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; give the folder that holds it") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); fetch it again") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no keys; fetch it again")
    return values


def take_keys(
    cls: type[Keys],
    values: Mapping[str, Any],
    where: str,
    renamed: Mapping[str, str] | None = None,
    without_effect: Collection[str] = (),
) -> Keys:
    """`cls` from the keys that are its fields; absent ones have its defaults.

    `renamed` maps older names to today's. Raises `UserError` naming `where` and the key that is unknown, there under
    both its names, of another type, or that `cls` itself refuses.
    """
    renamed = renamed or {}
    for old, new in renamed.items():
        if old in values and new in values:
            raise UserError(f"{where} has both {old} and {new}, its name today; remove one")
    known = {renamed.get(key, key): value for key, value in values.items() if key not in without_effect}
    hints = get_type_hints(cls)
    places = fields(cls)  # pyright: ignore[reportArgumentType]
    names = {place.name for place in places}
    if unknown := sorted(known.keys() - names):
        raise UserError(f"{where} has keys that thinwire does not know, and that may matter: {', '.join(unknown)}")
    required = [p.name for p in places if p.default is MISSING and p.default_factory is MISSING]
    if missing := [name for name in required if name not in known]:
        raise UserError(f"{where} lacks {', '.join(missing)}")
    for key, value in known.items():
        if not _fits(value, hints[key]):
            raise UserError(f"{where}: {key} is {value!r}, not {_words(hints[key])}")
    try:
        return cls(**known)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from None


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        return any(_fits(value, inner) for inner in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is hint


def _words(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_words(inner) for inner in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(hint, "null")
