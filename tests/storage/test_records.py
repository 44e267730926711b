"""One door: what is no strict JSON or YAML, or does not fit its record, is refused in a line with file and key."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinwire.errors import CorruptFile, MissingFile
from thinwire.storage.files import (
    MANIFEST,
    add_sealed,
    new_directory,
    read_file,
    read_manifest,
    read_sealed,
    to_json,
    write_atomic,
)
from thinwire.storage.records import (
    Count,
    Share,
    convert_list,
    of_version,
    parse_json,
    parse_yaml,
    plain,
    read_record,
)
from thinwire.storage.tensors import write_tensors


class Link(NamedTuple):
    name: str
    weight: float


@dataclass(frozen=True)
class Inner:
    n: Count
    share: Share = 0.5
    note: str | None = None

    def __post_init__(self) -> None:
        if self.n == 7:
            raise ValueError("seven is\nbad")


@dataclass(frozen=True)
class Record:
    kind: Literal["a", "b"]
    inner: Inner
    links: list[Link] = field(default_factory=list)
    by_name: dict[str, Inner] = field(default_factory=dict)
    pair: tuple[int, int] | None = None
    many: tuple[Inner, ...] = ()


VALUES = {
    "kind": "a",
    "inner": {"n": 3},
    "links": [["x", 1], ["y", 0.5]],
    "by_name": {"z": {"n": 0, "share": 1}},
    "pair": [1, 2],
    "many": [{"n": 1, "note": "é"}],
}
RECORD = Record("a", Inner(3), [Link("x", 1.0), Link("y", 0.5)], {"z": Inner(0, 1.0)}, (1, 2), (Inner(1, note="é"),))


def record(values: object) -> Record:
    return read_record(Record, json.dumps(values).encode(), "x.json")


def test_values_become_a_record_and_come_back() -> None:
    assert record(VALUES) == RECORD
    assert isinstance(record(VALUES).links[0], Link)
    assert record(json.loads(to_json(plain(RECORD)))) == RECORD


def test_none_is_left_out_where_it_is_the_default() -> None:
    assert plain(Inner(1)) == {"n": 1, "share": 0.5}
    assert plain(Inner(1, note="x")) == {"n": 1, "share": 0.5, "note": "x"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "c"}, "kind: unknown value 'c'"),
        ({"kind": 1}, "kind: expected str, got int"),
        ({"inner": {"n": 1.5}}, "inner.n: expected int, got float"),
        ({"inner": {"n": 3.0}}, "inner.n: expected int, got float"),
        ({"inner": {"n": True}}, "inner.n: expected int, got bool"),
        ({"inner": {"n": "3"}}, "inner.n: expected int, got str"),
        ({"inner": {"n": -1}}, "inner.n: expected int >= 0"),
        ({"inner": {"n": 1 << 60}}, "inner.n: expected int <= "),
        ({"inner": {"n": 10**100}}, "inner.n: expected int <= "),
        ({"inner": {"n": 1, "share": 1.01}}, "inner.share: expected float <= 1"),
        ({"inner": {"n": 1, "share": False}}, "inner.share: expected float, got bool"),
        ({"inner": {"n": 7}}, "inner: seven is bad"),
        ({"inner": None}, "inner: expected object, got null"),
        ({"inner": {"n": 1, "m": 2}, "k": 1}, "unknown keys: inner.m, k; was it made by a newer version"),
        ({"inner": {}}, "missing keys: inner.n"),
        ({"by_name": {"z": {"m": 1, "n": 1}}}, "unknown keys: by_name.z.m"),
        ({"many": [{"n": 1}, {"n": 1, "x": 1}]}, "unknown keys: many.1.x"),
        ({"links": [["x"]]}, r"links\[0\]: expected array"),
        ({"links": [["x", 1, 2]]}, r"links\[0\]: expected array"),
        ({"pair": [1]}, "pair: expected array of length 2, got 1"),
        ({"pair": {"0": 1}}, "pair: expected array"),
    ],
)
def test_what_does_not_fit_names_file_and_key(change: dict, words: str) -> None:
    with pytest.raises(CorruptFile, match=rf"^x\.json: {words}") as caught:
        record(VALUES | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [[], None, 3, "x", [VALUES]])
def test_another_shape_than_an_object_is_refused(values: object) -> None:
    with pytest.raises(CorruptFile, match=r"^x\.json: expected object"):
        record(values)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "Expecting value"),
        (b'{"a": 1,', "Expecting property name"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key c stands twice"),
        (b"[NaN]", "NaN is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b"[1e999]", "1e999 is no finite number"),
        (b"1" * 5000, "Exceeds the limit"),
        (b'["\\ud800"]', "surrogates not allowed"),
        (b"\xff", "invalid start byte"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ("[]".encode("utf-16"), "invalid start byte"),
        (b"[" * 200_000, "nested more than 32 deep"),
        (b'{"a":' * 200_000, "nested more than 32 deep"),
        (b'["' + b'\\"' * 100_000, "Unterminated string"),
    ],
)
def test_json_that_is_not_strict_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(CorruptFile, match=rf"^x is not valid JSON \(.*{words}") as caught:
        parse_json(content, "x")
    assert len(str(caught.value)) < 400


def test_brackets_inside_texts_are_no_depth() -> None:
    assert parse_json(b'["' + b"[" * 100 + b'\\"{", "\\\\", [[]]]', "x") == ["[" * 100 + '"{', "\\", [[]]]


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))
def test_json_is_read_as_python_reads_it(value: object) -> None:
    for ascii_only in (True, False):
        assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode(), "x") == value


@given(st.binary(max_size=60))
def test_any_bytes_are_values_or_one_line(content: bytes) -> None:
    for parse in (parse_json, parse_yaml):
        try:
            parse(content, "x")
        except CorruptFile as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: 1\na: 2", "the key a stands twice"),
        (b"a: &x {b: 1}\nc: *x", "aliases are not read"),
        (b"a: .nan", "Out of range"),
        (b"a: 2001-01-01", "neither text nor number"),
        (b"a: 2001-99-99", "month must be in"),
        (b"? [1, 2]\n: 3", "unhashable key"),
        (b"!!python/object/apply:os.system [true]", "could not determine a constructor"),
        (b"[" * 10_000, "nested more than 32 deep"),
        (b"- " * 10_000, "nested more than 32 deep"),
        (b"a: " + b"9" * 5000, "Exceeds the limit"),
        (b"a: [", "expected the node content"),
        (b"\xff", "invalid start byte"),
        (b"# " + b"x" * (1 << 16), "bytes are more than a config file has"),
    ],
)
def test_yaml_that_is_not_plain_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(CorruptFile, match=rf"^x is not valid YAML \(.*{words}") as caught:
        parse_yaml(content, "x")
    assert "\n" not in str(caught.value)


def test_older_versions_are_brought_up_and_others_refused() -> None:
    older = {1: lambda v: v | {"b": v["a"]}, 2: lambda v: {"c": v["b"]}}
    assert of_version({"schema_version": 1, "a": 5}, 3, "x", older) == {"c": 5}
    assert of_version({"schema_version": 3, "c": 5}, 3, "x", older) == {"c": 5}
    for version in (0, 4, 99, True, "1", None, 1.0):
        with pytest.raises(CorruptFile, match=r"^x has schema_version .*, this thinwire reads 3"):
            of_version({"schema_version": version}, 3, "x", older)
    with pytest.raises(CorruptFile, match="x holds no keys"):
        of_version([], 3, "x")


def test_a_list_of_records_names_the_place() -> None:
    assert convert_list(Inner, [{"n": 1}], "x") == [Inner(1)]
    with pytest.raises(CorruptFile, match=r"x\[1\]: unknown keys: m"):
        convert_list(Inner, [{"n": 1}, {"n": 1, "m": 1}], "x")
    with pytest.raises(CorruptFile, match="x: expected array, got object"):
        convert_list(Inner, {"n": 1}, "x")


# Files.


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    with new_directory(tmp_path / "run") as directory:
        write_atomic(directory / "a.txt", "abc")
    return tmp_path / "run"


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", "null", "5", '{"version": 1, "files": []}', '{"version": 1, "files": {"a.txt": null}}',
     '{"version": 1, "files": {"a.txt": {}}}', '{"version": 1, "files": {"a.txt": {"sha056": "00", "bytes": 3}}}',
     '{"version": 1, "files": {"a.txt": "x"}}', '{"version": 2, "files": {}}', "[" * 100_000,
     '{"version": 1, "files": {"a.txt": {"sha256": "00", "bytes": -1}}}'],
)  # fmt: skip
def test_a_manifest_of_a_wrong_shape_is_one_line(sealed: Path, content: str) -> None:
    (sealed / MANIFEST).write_text(content)
    with pytest.raises(CorruptFile if content != "{}" else MissingFile) as caught:
        read_sealed(sealed, "a.txt")
    assert str(sealed) in str(caught.value) and "\n" not in str(caught.value)


def test_the_manifest_has_the_layout_that_it_always_had(sealed: Path) -> None:
    text = (
        '{\n "version": 1,\n "files": {\n  "a.txt": {\n   "sha256": '
        '"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",\n   "bytes": 3\n  }\n }\n}\n'
    )
    assert (sealed / MANIFEST).read_text() == text
    assert read_manifest(sealed).files["a.txt"].bytes == 3


def test_only_ordinary_files_are_read(sealed: Path, tmp_path: Path) -> None:
    """A pipe would be waited for, /dev/zero read for ever; neither is opened to be read."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "good").symlink_to(sealed / "a.txt")
    for name in ("pipe", "zero", "run", "loop"):
        with pytest.raises(CorruptFile, match=name):
            read_file(tmp_path / name)
    for name in ("none", "run/a.txt/b"):
        with pytest.raises(MissingFile, match=name):
            read_file(tmp_path / name)
    assert read_file(tmp_path / "good") == b"abc"
    (sealed / "a.txt").unlink()
    os.mkfifo(sealed / "a.txt")
    with pytest.raises(CorruptFile, match="no ordinary file"):
        read_sealed(sealed, "a.txt")


def test_a_file_that_grew_is_not_read_whole(sealed: Path) -> None:
    os.truncate(sealed / "a.txt", 1 << 40)  # sparse: takes no room on the disk
    with pytest.raises(CorruptFile, match="more than"):
        read_sealed(sealed, "a.txt")
    with pytest.raises(CorruptFile, match="more than"):
        read_file(sealed / "a.txt", 100)


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from thinwire.storage import files, temporary
path = Path(sys.argv[2])
if sys.argv[1] == "file":
    with temporary.temporary_file(path) as (file, _):
        print("ready", flush=True)
        sys.stdin.read()
else:
    with files.new_directory(path) as directory:
        files.write_atomic(directory / "a.txt", "abc")
        print("ready", flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_a_killed_writer_left_goes_when_the_place_is_written_again(tmp_path: Path, kind: str) -> None:
    """While the writer lives, its temporary stays."""

    def write(path: Path) -> None:
        if kind == "file":
            write_atomic(path, "again")
        else:
            with new_directory(path) as directory:
                write_atomic(directory / "a.txt", "again")

    def temporaries() -> list[str]:
        return [name for name in os.listdir(tmp_path) if name.startswith(".place.")]

    (tmp_path / ".other.0123abcd.tmp").write_text("not ours")
    command = [sys.executable, "-c", KILLED_WHILE_WRITING, kind, str(tmp_path / "place")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        write(tmp_path / "place")
        assert len(temporaries()) == 1
        process.kill()
    assert len(temporaries()) == 1
    if kind == "directory":
        os.rename(tmp_path / "place", tmp_path / "first")
    write(tmp_path / "place")
    assert temporaries() == []
    assert (tmp_path / ".other.0123abcd.tmp").exists()


def test_tensors_can_be_read_by_whoever_reads_the_json_beside_them(tmp_path: Path) -> None:
    import torch

    for mask in (0o022, 0o077, 0o002):
        before = os.umask(mask)
        try:
            write_atomic(tmp_path / "a.json", "{}")
            write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(3)})
            with new_directory(tmp_path / f"d{mask}"):
                pass
        finally:
            os.umask(before)
        modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.json", "a.safetensors")}
        assert modes == dict.fromkeys(modes, 0o666 & ~mask)
        assert stat.S_IMODE((tmp_path / f"d{mask}").stat().st_mode) == 0o777 & ~mask


def test_a_replaced_file_is_listed_with_both_checksums_while_it_changes(sealed: Path) -> None:
    seen = []
    real = os.replace

    def watching(source: Path, target: Path) -> None:
        real(source, target)
        seen.append(read_manifest(sealed).files["a.txt"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", watching)
        add_sealed(sealed, "a.txt", "new")
    assert [entry.next is not None for entry in seen] == [True, True, False]
    assert seen[0].next is not None and seen[0].next.sha256 == seen[2].sha256
