"""Stored values and their types: the one door through which an artefact's JSON or YAML becomes a record.

A record is a frozen dataclass whose annotations say what a file may hold, ranges included:

1. `parse_json`, `parse_yaml`: bytes to plain values. Bounded in size and depth before anything is built; no key twice,
   no number that is not finite, no text that is not Unicode, no YAML aliases.
2. `convert`: plain values to the record. No unknown key, a missing one only where the class has a default, every type
   and range as annotated. What the class refuses in `__post_init__` is refused here too.
3. `of_version`: what an older version wrote, as the present one does.
4. `plain`: a record to the values that are written.

Whatever is wrong raises `CorruptFile`, in one line that names the file and the key.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
import yaml
from msgspec import Meta, inspect

from thinwire.errors import CorruptFile

MAX_DEPTH = 32
"""Brackets inside one another; no artefact of ours has more than eight."""
MAX_YAML = 1 << 16
"""Bytes of a config file. YAML is parsed slowly."""

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Text = Annotated[str, Meta(max_length=1 << 16)]
Count = Annotated[int, Meta(ge=0, lt=1 << 53)]
Positive = Annotated[int, Meta(ge=1, lt=1 << 53)]
Seed = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Threads = Annotated[int, Meta(ge=1, le=1 << 16)]
Name = Annotated[str, Meta(pattern=r"^\w[\w .-]*\Z", max_length=200)]
"""What can name a folder."""
Share = Annotated[float, Meta(ge=0, le=1)]
Loss = Annotated[float, Meta(ge=0, le=1e6)]
"""Nats."""
Divergence = Annotated[float, Meta(ge=-1e-3, le=1e6)]
"""Nats; rounding leaves one of almost nothing below 0."""
Correlation = Annotated[float, Meta(ge=-1 - 1e-6, le=1 + 1e-6)]
Ratio = Annotated[float, Meta(ge=0, le=3.5e38)]
"""Up to the largest float32."""
Number = Annotated[float, Meta(ge=-3.5e38, le=3.5e38)]
"""Of either sign: a weight, a logit difference, what is left of one."""
Seconds = Annotated[float, Meta(ge=0, le=1e10)]

T = TypeVar("T")


def read_record(cls: type[T], content: bytes, where: Path | str) -> T:
    """The record that a JSON file holds. Raises `CorruptFile` naming `where` and the key."""
    return convert(cls, parse_json(content, where), where)


def parse_json(content: bytes, where: Path | str) -> Any:
    """Plain values. Raises `CorruptFile` naming `where` for anything that is not strict JSON in UTF-8."""
    try:
        text = content.decode()
        _check_depth(content)
        values = json.loads(
            text, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant, parse_float=_finite
        )
        if "\\u" in text:
            json.dumps(values, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"{where} is not valid JSON ({_one_line(error)}); restore it or make it again") from None
    return values


def parse_yaml(content: bytes, where: Path | str) -> Any:
    """Plain values, as `parse_json` gives them. Raises `CorruptFile` naming `where`."""
    try:
        if len(content) > MAX_YAML:
            raise ValueError(f"{len(content)} bytes are more than a config file has")
        values = yaml.load(content.decode(), _PlainLoader)
        json.dumps(values, allow_nan=False, ensure_ascii=False, default=_refuse_kind).encode()
    except (ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise CorruptFile(f"{where} is not valid YAML ({_one_line(error)}); restore it") from None
    return values


def convert(cls: type[T], values: Any, where: Path | str) -> T:
    """The record of plain values. Raises `CorruptFile` naming `where` and the key."""
    kind = _kind(cls)
    if unknown := list(_unknown(values, kind)):
        raise CorruptFile(f"{where}: unknown keys: {_listed(unknown)}; was it made by a newer version?")
    if missing := list(_missing(values, kind)):
        raise CorruptFile(f"{where}: missing keys: {_listed(missing)}; restore it or make it again")
    try:
        return msgspec.convert(values, cls)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$")
        key = place.rstrip("`").removeprefix(".")
        said = problem.replace("`", "").replace("Expected", "expected").replace("Invalid enum value", "unknown value")
        raise CorruptFile(
            f"{where}: {f'{key}: ' if key else ''}{_one_line(said)}; restore it or make it again"
        ) from None


Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""The values of one version as the next one writes them."""


def of_version(
    values: Any, current: int, where: Path | str, older: Mapping[int, Migration] | None = None
) -> dict[str, Any]:
    """The values of a file that states its `schema_version`, as the current version writes them, without that key.

    Raises `CorruptFile` naming `where` for a version that is neither current nor one of `older`.
    """
    if not isinstance(values, dict):
        raise CorruptFile(f"{where} holds no keys; restore it or make it again")
    version, values = values.get("schema_version"), {k: v for k, v in values.items() if k != "schema_version"}
    if type(version) is not int or (version != current and version not in (older or {})):
        shown = _one_line(repr(version))
        raise CorruptFile(f"{where} has schema_version {shown}, this thinwire reads {current}; make it again")
    for step in range(version, current):
        values = (older or {})[step](values)
    return values


def convert_list(cls: type[T], values: Any, where: Path | str) -> list[T]:
    """`convert` of every value of a list."""
    if not isinstance(values, list):
        kind = "object" if isinstance(values, dict) else type(values).__name__
        raise CorruptFile(f"{where}: expected array, got {kind}; restore it or make it again")
    return [convert(cls, value, f"{where}[{i}]") for i, value in enumerate(values)]


def plain(value: Any) -> Any:
    """The values of a record as they are written. A field that is None by default is left out where it is None."""
    if is_dataclass(value):
        held = {field.name: (getattr(value, field.name), field.default) for field in fields(value)}
        return {name: plain(v) for name, (v, default) in held.items() if v is not None or default is not None}
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


# Parsing.


def _check_depth(content: bytes) -> None:
    outside = b"".join(re.sub(rb"\\.", b"", content, flags=re.DOTALL).split(b'"')[::2])
    steps = (1 if bracket in b"[{" else -1 for bracket in outside.translate(None, _NO_BRACKETS))
    if max(accumulate(steps), default=0) > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")


_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        _refuse_repeats(name for name, _ in pairs)
    return values


def _refuse_repeats(names: Iterable[str]) -> None:
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(f"the key {_shown(repeated[0])} stands twice")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text:.20} is no finite number")
    return value


def _refuse_kind(value: Any) -> NoReturn:
    raise ValueError(f"{value!s:.40} is neither text nor number")


class _PlainLoader(yaml.SafeLoader):
    """Values that JSON has too: no aliases, no key twice, bounded depth."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("aliases are not read")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        _refuse_repeats(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        return super().construct_mapping(node, deep)


# Keys.


@cache
def _kind(cls: type) -> inspect.Type:
    return inspect.type_info(cls)


def _unknown(values: Any, kind: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of the keys that no record has a place for."""
    for name, value, inner in _entries(values, kind, prefix):
        if inner is None:
            yield name
        else:
            yield from _unknown(value, inner, f"{name}.")


def _missing(values: Any, kind: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of the keys that a record needs and that are not there."""
    if isinstance(kind, inspect.DataclassType) and isinstance(values, dict):
        yield from (f"{prefix}{field.name}" for field in kind.fields if field.required and field.name not in values)
    for name, value, inner in _entries(values, kind, prefix):
        yield from _missing(value, inner, f"{name}.")


def _entries(values: Any, kind: Any, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    """(dotted name, value, its type) of everything inside that may hold keys; the type is None for an unknown key."""
    if isinstance(kind, inspect.UnionType):
        for choice in kind.types:
            yield from _entries(values, choice, prefix)
    elif isinstance(kind, inspect.DataclassType) and isinstance(values, dict):
        known = {field.name: field.type for field in kind.fields}
        for name, value in values.items():
            if name not in known or isinstance(known[name], _HOLDERS):
                yield f"{prefix}{name}", value, known.get(name)
    elif isinstance(kind, inspect.DictType) and isinstance(values, dict) and isinstance(kind.value_type, _HOLDERS):
        for name, value in values.items():
            yield f"{prefix}{name}", value, kind.value_type
    elif isinstance(kind, _LISTS) and isinstance(values, list) and isinstance(kind.item_type, _HOLDERS):
        for i, value in enumerate(values):
            yield f"{prefix}{i}", value, kind.item_type


_LISTS = (inspect.ListType, inspect.VarTupleType)
_HOLDERS = (inspect.DataclassType, inspect.DictType, inspect.UnionType, *_LISTS)


# Words.


def _shown(name: Any) -> str:
    text = str(name)
    return (text if text.isprintable() else repr(text))[:60]


def _listed(names: list[str]) -> str:
    shown = sorted(map(_shown, names))
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")


def _one_line(words: object) -> str:
    return "".join(c for c in " ".join(str(words).split()) if c.isprintable())[:200]
