import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import thinwire
from thinwire.data.config import DataConfig
from thinwire.data.shards import PreparedData, default_cache, prepare
from thinwire.errors import CorruptFile, MissingFile, UserError
from thinwire.progress import Advance, silent

ROOT = Path(thinwire.__file__).parent.parent
FILES = {
    f"{name}.py": f"def {name}(self):\n    return self.{name}[0]\n" * 3 for name in ("alpha", "beta", "gamma", "delta")
}


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return DataConfig(str(folder))


def other_process(config: DataConfig, cache: Path, before: str = "", progress: str = "silent") -> int:
    """Exit code of another Python that runs `before` and then prepares the same corpus."""
    program = (
        "from pathlib import Path; import os, resource, signal, sys\n"
        "from thinwire.data.config import DataConfig; from thinwire.data.shards import prepare\n"
        "from thinwire.errors import UserError; from thinwire.progress import silent\n"
        f"{before}\n"
        f"try: prepare(DataConfig({config.source!r}), 270, Path({str(cache)!r}), {progress})\n"
        "except UserError as error: sys.exit(2 if 'cannot be written' in str(error) else 3)\n"
    )
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode


def assert_same(first: PreparedData, second: PreparedData) -> None:
    assert np.array_equal(first.train, second.train) and np.array_equal(first.heldout, second.heldout)
    assert first.tokenizer.sha256 == second.tokenizer.sha256


def test_a_stream_is_every_document_followed_by_the_end_of_text(tmp_path: Path) -> None:
    for name, text in {"a.py": "\n", "b.py": "a", "c.py": "aé"}.items():
        (tmp_path / name).write_text(text)
    data = prepare(DataConfig(str(tmp_path)), 257, tmp_path / "cache")
    # b.py is held out (test_corpus says why); ids of single bytes are worked out in test_tokenizer
    assert data.heldout.tolist() == [65, 0]
    assert data.train.tolist() == [199, 0, 65, 128, 103, 0]
    assert (data.directory / "train.bin").read_bytes() == bytes([199, 0, 0, 0, 65, 0, 128, 0, 103, 0, 0, 0])


def test_streams_decode_to_the_documents(config: DataConfig, tmp_path: Path) -> None:
    data = prepare(config, 280, tmp_path / "cache")
    text = "".join(data.tokenizer.decode(stream.tolist()) for stream in (data.train, data.heldout))
    assert sorted(text.split("<|endoftext|>")) == sorted(["", *FILES.values()])
    assert data.corpus_manifest.n_files == 4
    assert data.train.dtype == np.uint16 and not data.train.flags.writeable


def test_a_corpus_that_is_one_file_has_its_last_lines_held_out(tmp_path: Path) -> None:
    text = "".join(f"value_{i} = {i}\n" for i in range(20))
    (tmp_path / "one.txt").write_text(text)
    data = prepare(DataConfig(str(tmp_path / "one.txt"), heldout_frac=0.25), 260, tmp_path / "cache")
    halves = [data.tokenizer.decode(stream[:-1].tolist()) for stream in (data.train, data.heldout)]
    assert "".join(halves) == text and halves[1].startswith("value_15")


def test_the_tokenizer_has_not_seen_the_heldout_text(tmp_path: Path) -> None:
    # As above b.py is held out. It alone repeats "zq", so no token may hold it; a.py and c.py repeat "ab".
    for name, text in {"a.py": "abab", "b.py": "zq" * 50, "c.py": "abab\n"}.items():
        (tmp_path / name).write_text(text)
    tokenizer = prepare(DataConfig(str(tmp_path)), 258, tmp_path / "cache").tokenizer
    assert len(tokenizer.encode("ab")) == 1 and len(tokenizer.encode("zq")) == 2


def test_a_second_preparation_reads_the_cache_and_a_changed_corpus_does_not(config: DataConfig, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = prepare(config, 270, cache)
    written = (first.directory / "train.bin").stat().st_mtime_ns
    again = prepare(config, 270, cache)
    assert (again.directory / "train.bin").stat().st_mtime_ns == written
    assert_same(first, again)
    split = replace(config, heldout_frac=0.5)
    directories = {first.directory, prepare(config, 271, cache).directory, prepare(split, 270, cache).directory}
    (tmp_path / "corpus" / "alpha.py").write_text(FILES["alpha.py"] + "# changed\n")
    assert len(directories | {prepare(config, 270, cache).directory}) == 4


def test_a_given_tokenizer_is_used_for_files_and_records_alike(config: DataConfig, tmp_path: Path) -> None:
    first = prepare(config, 270, tmp_path / "cache")
    folder = tmp_path / "other"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text.replace("return", "yield"))
    given = replace(config, source=str(folder), tokenizer=str(first.directory / "tokenizer.json"))
    records = tmp_path / "records.jsonl"
    records.write_text("".join(json.dumps({"text": f"yield self.{i}"}) + "\n" for i in range(40)))
    for other in (given, replace(given, source=str(records))):
        data = prepare(other, 270, tmp_path / "cache")
        assert data.tokenizer.sha256 == first.tokenizer.sha256
        assert "yield" in data.tokenizer.decode(data.train.tolist())
    learnt = prepare(replace(given, tokenizer=""), 270, tmp_path / "cache")
    assert learnt.tokenizer.sha256 != first.tokenizer.sha256
    with pytest.raises(UserError, match=r"has 270 tokens and the model 280; set model.vocab_size to 270"):
        prepare(given, 280, tmp_path / "cache")
    with pytest.raises(
        UserError, match=r"cannot be read: it is not valid JSON .*; restore it, or name the tokenizer.json of a run"
    ):
        prepare(replace(given, tokenizer=str(records)), 270, tmp_path / "cache")


@pytest.mark.parametrize("name", ["train.bin", "heldout.bin", "tokenizer.json"])
def test_a_flipped_bit_or_a_lost_file_is_noticed(config: DataConfig, tmp_path: Path, name: str) -> None:
    directory = prepare(config, 270, tmp_path / "cache").directory
    path = directory / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match=f"{name} does not match its checksum; delete the folder {directory}"):
        prepare(config, 270, tmp_path / "cache")
    path.unlink()
    with pytest.raises(MissingFile, match=f"{name} is missing; delete the folder {directory}"):
        prepare(config, 270, tmp_path / "cache")


def test_a_killed_preparation_leaves_nothing_that_is_used(config: DataConfig, tmp_path: Path) -> None:
    killer = (
        "def killed(title, total, unit):\n"
        "    if title == 'tokenise': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return silent(title, total, unit)"
    )
    assert other_process(config, tmp_path / "cache", killer, "killed") == -9
    assert any((tmp_path / "cache").iterdir())
    assert_same(prepare(config, 270, tmp_path / "cache"), prepare(config, 270, tmp_path / "fresh"))


def test_two_preparations_at_once_both_succeed(config: DataConfig, tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    @contextmanager
    def overtaken(title: str, total: int, unit: str = "step") -> Iterator[Advance]:
        if title == "tokenise":  # while this process is half done, another one does it all
            assert other_process(config, cache) == 0
        with silent(title, total, unit) as advance:
            yield advance

    data = prepare(config, 270, cache, overtaken)
    assert list(cache.iterdir()) == [data.directory]
    assert_same(data, prepare(config, 270, tmp_path / "fresh"))


def test_a_full_disk_is_said_and_leaves_nothing(config: DataConfig, tmp_path: Path) -> None:
    small_files = "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
    assert other_process(config, tmp_path / "cache", small_files) == 2
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_bad_cache_or_vocabulary_is_refused(config: DataConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written .* set THINWIRE_CACHE"):
        prepare(config, 270, tmp_path / "corpus" / "alpha.py")
    with pytest.raises(UserError, match="the corpus yields only"):
        prepare(config, 5000, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_progress_adds_up_to_its_total(config: DataConfig, tmp_path: Path) -> None:
    seen: dict[str, list[int]] = {}

    @contextmanager
    def counted(title: str, total: int, unit: str = "step") -> Iterator[Advance]:
        assert unit == {"read": "file", "compare with held-out": "token"}.get(title, "document")
        seen[title] = [total, 0]

        def advance(steps: int = 1, **shown: float | int | str) -> None:
            seen[title][1] += steps

        yield advance

    data = prepare(config, 270, tmp_path / "cache", counted)
    n, n_train = len(data.train), data.corpus_manifest.splits["train"].n_files
    assert seen == {
        "read": [4, 4],
        "learn tokenizer": [n_train, n_train],
        "tokenise": [4, 4],
        "compare with held-out": [n, n],
    }


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("THINWIRE_CACHE", raising=False)
    assert default_cache() == Path("/home/someone/.cache/thinwire")
    monkeypatch.setenv("XDG_CACHE_HOME", "/big")
    assert default_cache() == Path("/big/thinwire")
    monkeypatch.setenv("THINWIRE_CACHE", "/chosen")
    assert default_cache() == Path("/chosen")
