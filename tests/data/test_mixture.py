"""Several sources in one corpus, and what each source takes from the disk."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thinwire.data import files
from thinwire.data.config import DataConfig, Part
from thinwire.data.corpus import CorpusSplit, place, read_corpus
from thinwire.data.shards import PreparedData, prepare
from thinwire.data.sources import sources
from thinwire.data.stream import Stream
from thinwire.errors import UserError
from thinwire.training.config import RunConfig
from thinwire.training.config_file import from_yaml, to_yaml

LINE = "    return self.{name}[{i}] + other\n"


def write(folder: Path, word: str, n: int, lines: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        (folder / f"{word}{i}.py").write_text(f"def {word}{i}(self):\n" + LINE.format(name=word, i=i) * lines)
    return folder


def mixed(tmp_path: Path, *source: str, **more: Any) -> DataConfig:
    return DataConfig(source=source, heldout_frac=0.3, **more)


def texts(data: PreparedData, split: str) -> list[str]:
    stream = data.train if split == "train" else data.heldout
    return data.tokenizer.decode(stream.tolist()).split("<|endoftext|>")[:-1]


# --- how sources are written ----------------------------------------------------------------------------------------


def test_sources_are_written_as_a_list_with_or_without_shares() -> None:
    assert DataConfig().parts == (Part("stdlib"),)
    assert DataConfig("odd=0.5").parts == (Part("odd=0.5"),)  # a single source is taken as it stands
    assert DataConfig(("a=0.25", "installed:b,c=.75")).parts == (Part("a", 0.25), Part("installed:b,c", 0.75))
    assert DataConfig(("a", "x=y")).parts == (Part("a"), Part("x=y"))
    assert DataConfig(("odd=0.5=1",)).parts == (Part("odd=0.5", 1.0),)
    assert (DataConfig(suffixes=".txt").endings, DataConfig(suffixes=".txt,.md").endings) == (
        (".txt",),
        (".txt", ".md"),
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ((), "empty list"),
        (("a", ""), "names nothing"),
        ("hf:", "names nothing"),
        ("installed:", "names nothing"),
        (("a=0.5", "a=0.5"), "'a' is named twice"),
        (("a=0.5", "b"), "'b' has no share and others have one; write b=SHARE"),
        (("a=0.5", "b=0.3"), "sum to 0.8, not to 1"),
        (("a=0", "b=1"), "or one is 0"),
    ],
)
def test_lists_that_mean_nothing_are_refused(source: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        DataConfig(source)


def test_config_files_keep_either_form(tmp_path: Path) -> None:
    for source in ("stdlib", ("stdlib=0.5", "installed:sympy,networkx=0.5")):
        config = RunConfig(data=DataConfig(source))
        assert from_yaml(to_yaml(config), tmp_path) == config
    old = "data:\n  source: stdlib\n  suffixes: [.py]\n"
    assert from_yaml(old, tmp_path).data == DataConfig()


# --- several sources ------------------------------------------------------------------------------------------------


def test_without_shares_every_document_stands_once_and_sources_take_turns(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", "apple", 30), write(tmp_path / "b", "berry", 30)
    data = prepare(mixed(tmp_path, str(a), str(b)), 300, tmp_path / "cache")
    for split, fewer in (("train", 10), ("heldout", 4)):
        seen = texts(data, split)
        assert len(seen) == len(set(seen))
        kinds = ["apple" in text for text in seen]
        for some in range(fewer, len(kinds), fewer):  # any beginning has both in proportion
            assert abs(sum(kinds[:some]) / some - sum(kinds) / len(kinds)) < 0.2
    assert sorted(texts(data, "train") + texts(data, "heldout")) == sorted(
        path.read_text() for folder in (a, b) for path in folder.iterdir()
    )
    first, second = data.corpus_manifest.sources
    assert (first.source, second.source, first.share) == (str(a), str(b), None)
    assert data.corpus_manifest.source_kind == "several"
    streams: dict[CorpusSplit, np.ndarray] = {"train": data.train, "heldout": data.heldout}
    for split, stream in streams.items():
        assert (first.splits[split].n_tokens or 0) + (second.splits[split].n_tokens or 0) == len(stream)
        in_first = [data.tokenizer.encode(text) for text in texts(data, split) if "apple" in text]
        assert first.splits[split].n_tokens == sum(len(ids) + 1 for ids in in_first)


def test_a_source_holds_out_the_same_documents_alone_and_in_any_company(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", "apple", 40), write(tmp_path / "b", "berry", 40)
    alone = read_corpus(DataConfig(str(a), heldout_frac=0.3))
    beside = read_corpus(mixed(tmp_path, str(b), str(a)))
    held = {d.name for d in alone.documents if d.split == "heldout"}
    assert held == {d.name for d in beside.documents if d.source == 1 and d.split == "heldout"}
    assert held == {f"apple{i}.py" for i in range(40) if place(f"apple{i}.py") < 0.3}


def test_shares_are_met_by_leaving_documents_out_or_by_repeating_them(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", "apple", 60), write(tmp_path / "b", "berry", 20)
    config = mixed(tmp_path, f"{a}=0.5", f"{b}=0.5")
    data = prepare(config, 300, tmp_path / "cache")
    one, two = data.corpus_manifest.sources
    n = {kind: sum(kind in text for text in texts(data, "train")) for kind in ("apple", "berry")}
    assert len(set(texts(data, "train"))) == n["apple"] + n["berry"]  # nothing is repeated
    assert n["berry"] == sum(place(f"berry{i}.py") >= 0.3 for i in range(20))  # the scarce one is whole
    size = max(len(path.read_bytes()) for path in a.iterdir())
    for split in ("train", "heldout"):
        assert abs(one.splits[split].n_bytes - two.splits[split].n_bytes) <= size
    more = prepare(replace(config, copies=2), 300, tmp_path / "cache")
    again = [text for text in texts(more, "train") if "berry" in text]
    assert len(again) == 2 * len(set(again)) == 2 * n["berry"]
    assert abs(sum("apple" in text for text in texts(more, "train")) - 2 * n["apple"]) <= 1
    assert len(set(texts(more, "heldout"))) == len(texts(more, "heldout"))
    assert more.corpus_manifest.sources[1].splits["train"].n_bytes == sum(map(len, again))
    assert [len(s.splitlines()) for s in texts(data, "train")[:1]] == [4]


def test_records_and_files_mix(tmp_path: Path) -> None:
    a = write(tmp_path / "a", "apple", 30)
    lines = [f"def berry{i}(self):\n" + LINE.format(name="berry", i=i) * 3 for i in range(30)]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in lines))
    config = mixed(tmp_path, f"{tmp_path / 'b.jsonl'}=0.5", f"{a}=0.5", copies=2)
    data = prepare(config, 300, tmp_path / "cache")
    kinds = [source.kind for source in data.corpus_manifest.sources]
    assert kinds == ["records", "path"]
    sizes = [source.splits["train"].n_bytes for source in data.corpus_manifest.sources]
    assert abs(sizes[0] - sizes[1]) < 0.1 * sizes[0]
    read = [text for text in texts(data, "train") if "berry" in text]
    numbers = [lines.index(text) for text in dict.fromkeys(read)]
    assert numbers == sorted(numbers)  # records keep their order
    named = {file.name: file for file in data.corpus_manifest.files}
    assert named["b.jsonl"].n_bytes and named[f"{a}:apple0.py"].sha256


def test_a_text_in_two_sources_stands_once_and_is_counted(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", "apple", 10), write(tmp_path / "b", "berry", 10)
    (b / "copy.py").write_text((a / "apple3.py").read_text())
    corpus = read_corpus(mixed(tmp_path, str(a), str(b)))
    assert [counts.duplicates for counts in corpus.left] == [0, 1]
    assert corpus.sha256 != read_corpus(mixed(tmp_path, str(b), str(a))).sha256


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    a = write(tmp_path / "a", "apple", 10)
    stream = Stream(read_corpus(DataConfig(str(a))), DataConfig(str(a)))
    (a / "apple7.py").write_text("changed\n")
    with pytest.raises(UserError, match="apple7.py of .* has changed while it was read; run again"):
        list(stream.visits())


def test_the_same_mixture_has_the_same_bytes(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", "apple", 20), write(tmp_path / "b", "berry", 20)
    config = mixed(tmp_path, f"{a}=0.3", f"{b}=0.7", copies=3)
    first, second = (prepare(config, 300, tmp_path / cache) for cache in ("one", "two"))
    assert np.array_equal(first.train, second.train) and first.corpus_manifest == second.corpus_manifest


# --- what lies in a source ------------------------------------------------------------------------------------------


def test_links_out_of_a_folder_are_not_followed_and_are_counted(tmp_path: Path) -> None:
    a, other = write(tmp_path / "a", "apple", 5), write(tmp_path / "elsewhere", "secret", 3)
    (a / "out.py").symlink_to(other / "secret0.py")
    (a / "folder").symlink_to(other)
    (a / "inside.py").symlink_to(a / "apple1.py")
    (a / "nowhere.py").symlink_to(tmp_path / "absent.py")
    (a / "round.py").symlink_to(a / "round.py")
    os.mkfifo(a / "pipe.py")
    (a / "zero.py").symlink_to("/dev/zero")
    found = files.folder_files(a, (".py",))
    assert [name for name in found.paths if name.startswith("apple")] == [f"apple{i}.py" for i in range(5)]
    assert set(found.paths) - {f"apple{i}.py" for i in range(5)} == {"inside.py"}
    assert found.n_links == 2  # out.py and folder
    corpus = read_corpus(DataConfig(str(a)))
    assert (len(corpus.documents), corpus.left[0].duplicates) == (5, 1)
    link = tmp_path / "link"
    link.symlink_to(a)  # the corpus itself may be a link
    assert set(files.folder_files(link, (".py",)).paths) == set(found.paths)
    only = tmp_path / "only"
    only.mkdir()
    (only / "x.py").symlink_to(other / "secret0.py")
    with pytest.raises(UserError, match="1 links out of it are not followed; name the folder they lead to"):
        read_corpus(DataConfig(str(only)))


def test_pipes_and_devices_are_no_sources(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    for source in (tmp_path / "pipe.jsonl", Path("/dev/zero")):
        with pytest.raises(UserError, match="is no file or folder"):
            read_corpus(DataConfig(str(source)))


def test_a_share_outside_a_list_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a share belongs into a list of sources: --data.source '\[stdlib=0.3, ...\]'"):
        read_corpus(DataConfig("stdlib=0.3"))


def test_the_standard_librarys_tests_are_a_source_of_their_own() -> None:
    own, tests = files.stdlib_files().paths, files.stdlib_test_files().paths
    assert "test/test_set.py" in tests and not own.keys() & tests.keys()
    assert not any("site-packages" in name for name in tests)
    (source,) = sources(DataConfig("stdlib-tests"))
    assert (source.kind, source.versions) == ("stdlib-tests", {"python": sys.version.split()[0]})


def test_a_python_without_its_tests_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "json", "decoder", 2)
    monkeypatch.setattr(files, "_stdlib", lambda: tmp_path)
    with pytest.raises(UserError, match="this Python came without its tests; install them"):
        files.stdlib_test_files()


def test_installed_packages_are_read_by_the_names_that_pip_gives_them() -> None:
    (source,) = sources(DataConfig("installed:jaxtyping,PyYAML"))
    names = list(source.files.paths)
    assert {"jaxtyping/__init__.py", "yaml/__init__.py"} <= set(names)
    assert all(name.endswith(".py") and ".." not in name for name in names)
    assert sorted(source.versions) == ["PyYAML", "jaxtyping"] and source.kind == "installed"
    for absent in ("no-such-package-here", "../x"):
        with pytest.raises(UserError, match="there is no such package here"):
            read_corpus(DataConfig(f"installed:jaxtyping,{absent}"))


def test_a_document_has_a_stated_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thinwire.data.records.MAX_DOCUMENT_BYTES", 1 << 20)
    folder = write(tmp_path / "a", "apple", 3)
    (folder / "big.py").write_text("x" * ((1 << 20) + 1))
    with pytest.raises(UserError, match="big.py is a document of more than 1 MiB; split it into several"):
        read_corpus(DataConfig(str(folder)))
    records = tmp_path / "b.jsonl"
    records.write_text(json.dumps({"text": "a"}) + "\n" + json.dumps({"text": "x" * (3 << 20)}) + "\n")
    with pytest.raises(UserError, match="b.jsonl:2 is a document of more than 1 MiB"):
        read_corpus(DataConfig(str(records)))


def test_records_that_are_no_unicode_are_left_out_and_deep_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a \\ud800"}\n{"text": "b"}\n{"text": "c"}\n')
    corpus = read_corpus(DataConfig(str(path)))
    assert (len(corpus.documents), corpus.left[0].skipped) == (2, 1)
    path.write_text("[" * 100_000 + "\n")
    with pytest.raises(UserError, match=f"{path}:1 is no JSON"):
        read_corpus(DataConfig(str(path)))
