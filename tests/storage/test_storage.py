"""Files survive a kill whole, and a flipped bit is noticed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from thinwire.errors import CorruptFile, MissingFile, UserError
from thinwire.storage.files import (
    MANIFEST,
    add_sealed,
    is_sealed,
    new_directory,
    read_either,
    read_json,
    read_sealed,
    seal,
    sha256,
    sha256_file,
    to_json,
    write_atomic,
    write_json,
)

SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A sealed directory of two files."""
    with new_directory(tmp_path / "run") as directory:
        write_atomic(directory / "a.txt", "abc")
        (directory / "deep").mkdir()
        write_atomic(directory / "deep" / "b.bin", bytes(range(256)))
    return tmp_path / "run"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_checksums_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(b"abc") == sha256_file(tmp_path / "abc") == SHA256_OF_ABC


def test_checksum_of_a_file_longer_than_one_block(tmp_path: Path) -> None:
    data = b"x" * ((1 << 20) + 1)
    (tmp_path / "long").write_bytes(data)
    assert sha256_file(tmp_path / "long") == sha256(data)


def test_checksum_of_a_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="nowhere"):
        sha256_file(tmp_path / "nowhere")


def test_write_atomic_replaces_and_leaves_no_temporary(tmp_path: Path) -> None:
    write_atomic(tmp_path / "f", "old")
    write_atomic(tmp_path / "f", "newer")
    assert (tmp_path / "f").read_text() == "newer"
    assert names(tmp_path) == ["f"]


def test_a_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomic(tmp_path / "f", "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(tmp_path / "f", "new")
    assert (tmp_path / "f").read_text() == "old"
    assert names(tmp_path) == ["f"]


def test_json_is_strict_and_ends_with_a_newline() -> None:
    assert to_json({"a": 1.5}) == '{\n "a": 1.5\n}\n'
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json({"loss": float("nan")})


def test_json_round_trip_keeps_text_as_it_is(tmp_path: Path) -> None:
    value = {"prompt": "x = 'é\n", "none": None, "list": [1, 2.5, True]}
    write_json(tmp_path / "f.json", value)
    assert read_json(tmp_path / "f.json") == value
    assert "é" in (tmp_path / "f.json").read_text(encoding="utf-8")


def test_broken_json_is_corrupt_and_absent_json_is_missing(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text('{"a": ')
    with pytest.raises(CorruptFile, match=r"f\.json is not valid JSON"):
        read_json(tmp_path / "f.json")
    with pytest.raises(MissingFile, match=r"g\.json is missing"):
        read_json(tmp_path / "g.json")


def test_a_new_directory_appears_sealed(sealed: Path) -> None:
    assert read_sealed(sealed, "a.txt") == b"abc"
    assert read_sealed(sealed, "deep/b.bin") == bytes(range(256))
    manifest = json.loads((sealed / MANIFEST).read_text())
    assert manifest["files"]["a.txt"] == {"sha256": SHA256_OF_ABC, "bytes": 3}
    assert list(manifest["files"]) == ["a.txt", "deep/b.bin"]
    assert names(sealed.parent) == ["run"]


def test_nothing_appears_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_directory(tmp_path / "run") as directory:  # noqa: PT012  the block fails
        write_atomic(directory / "a.txt", "abc")
        raise RuntimeError
    assert names(tmp_path) == []


def test_a_directory_that_holds_something_is_refused_untouched(sealed: Path) -> None:
    with pytest.raises(UserError, match="not empty"), new_directory(sealed) as directory:
        write_atomic(directory / "a.txt", "other")
    assert read_sealed(sealed, "a.txt") == b"abc"


def test_an_empty_directory_may_be_filled_and_a_file_may_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with new_directory(tmp_path / "empty") as directory:
        write_atomic(directory / "a.txt", "abc")
    assert is_sealed(tmp_path / "empty", "a.txt")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="not empty"), new_directory(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("position", [0, 100, 255])
def test_one_flipped_bit_is_noticed(sealed: Path, position: int) -> None:
    data = bytearray((sealed / "deep" / "b.bin").read_bytes())
    data[position] ^= 1
    (sealed / "deep" / "b.bin").write_bytes(data)
    with pytest.raises(CorruptFile, match=r"b\.bin does not match its checksum"):
        read_sealed(sealed, "deep/b.bin")


def test_a_cut_file_is_noticed(sealed: Path) -> None:
    os.truncate(sealed / "deep" / "b.bin", 255)
    with pytest.raises(CorruptFile):
        read_sealed(sealed, "deep/b.bin")


def test_only_sealed_files_that_are_there_are_read(sealed: Path) -> None:
    (sealed / "stranger").write_text("not in the manifest")
    (sealed / "a.txt").unlink()
    for name in ("stranger", "a.txt", "never"):
        assert is_sealed(sealed, name) == (name == "a.txt")  # what is listed and gone is an error, not an absence
        with pytest.raises(MissingFile, match=name):
            read_sealed(sealed, name)
    with pytest.raises(MissingFile, match=r"stranger is not listed in manifest\.json; make it again"):
        read_sealed(sealed, "stranger")
    assert not is_sealed(sealed.parent, "a.txt")  # no manifest at all


def test_add_sealed_adds_and_replaces(sealed: Path) -> None:
    add_sealed(sealed, "c.txt", "first")
    add_sealed(sealed, "c.txt", "second")
    add_sealed(sealed, "a.txt", b"abcd")
    assert read_sealed(sealed, "c.txt") == b"second"
    assert read_sealed(sealed, "a.txt") == b"abcd"
    assert read_sealed(sealed, "deep/b.bin") == bytes(range(256))


@pytest.mark.parametrize("step", range(4))
def test_a_kill_while_replacing_leaves_the_old_or_the_new_content(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Three renames make a replacement (manifest, file, manifest); the process dies after 0, 1, 2 or all of them."""
    import thinwire.storage.files as storage

    real, left = storage.os.replace, [step]

    def dying(source: Path, target: Path) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        real(source, target)

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(storage.os, "replace", dying)
        add_sealed(sealed, "a.txt", "new")
    assert read_sealed(sealed, "a.txt") == (b"new" if step >= 2 else b"abc")
    write_atomic(sealed / "a.txt", "other")
    with pytest.raises(CorruptFile):
        read_sealed(sealed, "a.txt")
    add_sealed(sealed, "a.txt", "newer")
    assert read_sealed(sealed, "a.txt") == b"newer"


def test_a_kill_while_adding_leaves_the_file_absent(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import thinwire.storage.files as storage

    real = storage.write_atomic

    def killed_after(path: Path, data: bytes | str) -> None:
        real(path, data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_atomic", killed_after)
        with pytest.raises(KeyboardInterrupt):
            add_sealed(sealed, "c.txt", "new")
    with pytest.raises(MissingFile):
        read_sealed(sealed, "c.txt")


def test_seal_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="nowhere"):
        seal(tmp_path, ["nowhere"])
    assert names(tmp_path) == []


def test_a_process_killed_while_filling_leaves_no_directory(tmp_path: Path) -> None:
    """SIGKILL runs no `finally`: what is left is a hidden temporary, never a half directory under the real name."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from thinwire.storage.files import new_directory, write_atomic\n"
        "with new_directory(Path(sys.argv[1])) as directory:\n"
        "    write_atomic(directory / 'a.txt', 'abc')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "run").exists()
    with new_directory(tmp_path / "run") as directory:
        write_atomic(directory / "a.txt", "again")
    assert read_sealed(tmp_path / "run", "a.txt") == b"again"


def test_a_file_is_checked_where_its_directory_is_sealed(sealed: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("xyz")
    assert (read_either(sealed, "a.txt"), read_either(tmp_path, "a.txt")) == (b"abc", b"xyz")
    (sealed / "a.txt").write_text("xyz")
    with pytest.raises(CorruptFile, match="does not match its checksum"):
        read_either(sealed, "a.txt")
    with pytest.raises(CorruptFile, match="more than any of its kind"):
        read_either(tmp_path, "a.txt", limit=2)
