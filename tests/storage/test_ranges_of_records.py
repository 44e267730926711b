"""Every number that a stored record holds has a range: a count of -7, or a loss of 1e300, is no value of any file.

A class whose `__post_init__` checks its values (`thinwire.ranges`) says its ranges there.
"""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import pytest
from msgspec import inspect

import thinwire
from thinwire.circuits.graph import Circuit
from thinwire.ground_truth.results import ModelResult
from thinwire.verification.registry import TESTS

PACKAGE = Path(thinwire.__file__).parent
READERS = re.compile(r"\b(?:read_sealed_record|read_record|convert|convert_list)\(([A-Z_]\w+),")


def read_in(path: Path) -> list[type]:
    """The classes that a module's source hands to a reader of records."""
    names = READERS.findall(path.read_text())
    module = ".".join(("thinwire", *path.relative_to(PACKAGE).with_suffix("").parts))
    return [getattr(import_module(module), name) for name in names]


RECORDS = {cls for path in sorted(PACKAGE.rglob("*.py")) for cls in read_in(path)}
FINDINGS = {get_type_hints(test.run)["return"] for test in TESTS.values()}
STORED = sorted(RECORDS | FINDINGS | {Circuit, ModelResult}, key=lambda cls: cls.__qualname__)


def unbounded(kind: inspect.Type, where: str = "", inside: tuple[type, ...] = ()) -> Iterator[str]:
    """The places of a type that take any number."""
    match kind:
        case inspect.IntType() | inspect.FloatType():
            if (kind.ge is None and kind.gt is None) or (kind.le is None and kind.lt is None):
                yield where
        case inspect.DataclassType() | inspect.NamedTupleType():
            if kind.cls not in inside and not hasattr(kind.cls, "__post_init__"):
                for field in kind.fields:
                    yield from unbounded(field.type, f"{kind.cls.__name__}.{field.name}", (*inside, kind.cls))
        case inspect.UnionType():
            for one in kind.types:
                yield from unbounded(one, where, inside)
        case inspect.TupleType():
            for one in kind.item_types:
                yield from unbounded(one, where, inside)
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType() | inspect.FrozenSetType():
            yield from unbounded(kind.item_type, where, inside)
        case inspect.DictType():
            yield from unbounded(kind.key_type, where, inside)
            yield from unbounded(kind.value_type, where, inside)
        case _:
            pass


def test_the_records_are_found() -> None:
    assert len(RECORDS) >= 12
    assert len(FINDINGS) == len(TESTS)


@pytest.mark.parametrize("record", STORED, ids=lambda cls: cls.__name__)
def test_every_number_has_a_range(record: type) -> None:
    assert list(unbounded(inspect.type_info(record))) == []
