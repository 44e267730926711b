"""Configs of other programs, strictly: every key is used, renamed, known to be without effect, or refused by name."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from thinwire.errors import UserError
from thinwire.storage.files import read_json
from thinwire.storage.records import convert

Keys = TypeVar("Keys")


def read_keys(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds. Raises `UserError` when there is none, or no such file."""
    values = read_json(path)
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no keys; fetch it again")
    return values


def take_keys(
    cls: type[Keys],
    values: Mapping[str, Any],
    where: Path | str,
    renamed: Mapping[str, str] | None = None,
    without_effect: Collection[str] = (),
) -> Keys:
    """The dataclass `cls` from the keys that are its fields; absent ones have its defaults.

    `renamed` maps older names to today's. Raises `UserError` naming `where` and the key that is unknown, there under
    both its names, of another type, or that `cls` itself refuses.
    """
    renamed = renamed or {}
    for old, new in renamed.items():
        if old in values and new in values:
            raise UserError(f"{where} has both {old} and {new}, its name today; remove one")
    known = {renamed.get(key, key): value for key, value in values.items() if key not in without_effect}
    return convert(cls, known, where)
