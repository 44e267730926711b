import sys
from pathlib import Path

import pytest

from thinwire.data.config import DataConfig
from thinwire.data.corpus import Corpus, Left, read_corpus
from thinwire.data.manifest import CorpusManifest, SplitCounts, manifest
from thinwire.data.stream import Stream
from thinwire.errors import UserError
from thinwire.storage.files import record_json, sha256
from thinwire.storage.records import read_record


def write(folder: Path, files: dict[str, str | bytes]) -> DataConfig:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return DataConfig(source=str(folder))


def texts(corpus: Corpus) -> list[str]:
    return [*corpus.texts("train"), *corpus.texts("heldout")]


def made(config: DataConfig) -> CorpusManifest:
    """The manifest of a corpus of which nothing was tokenised."""
    stream = Stream(read_corpus(config), config)
    none = [0] * len(stream.corpus.sources)
    return manifest(stream, {"train": none, "heldout": none})


def splits(corpus: Corpus) -> dict[str, str]:
    return {document.name: document.split for document in corpus.documents}


def test_documents_are_sorted_by_relative_name_and_keep_their_newlines(tmp_path: Path) -> None:
    corpus = read_corpus(
        write(tmp_path, {"b.py": "x = 1\r\ny\r", "a/z.py": "é\n", "a.py": "\ufeffa", "notes.txt": "no"})
    )
    assert [document.name for document in corpus.documents] == ["a.py", "a/z.py", "b.py"]
    assert sorted(texts(corpus)) == sorted(["\ufeffa", "é\n", "x = 1\r\ny\r"])
    assert (corpus.documents[1].sha256.hex(), corpus.documents[1].n_bytes) == (sha256(b"\xc3\xa9\n"), 3)


def test_suffixes_choose_the_files_and_hidden_folders_are_left_out(tmp_path: Path) -> None:
    config = write(tmp_path, {"a.md": "a", "b.txt": "b", "c.py": "c", ".venv/d.md": "d"})
    corpus = read_corpus(DataConfig(config.source, suffixes=(".md", ".txt")))
    assert [document.name for document in corpus.documents] == ["a.md", "b.txt"]


def test_binary_and_empty_files_are_skipped_and_duplicates_dropped_and_both_are_counted(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "nul.py": b"a\0b",
        "latin1.py": b"\xe9",
        "empty.py": b"",
        "one.py": "same",
        "two.py": "same",
        "zoo.py": "other",
    }
    corpus = read_corpus(write(tmp_path, files))
    assert list(splits(corpus)) == ["one.py", "zoo.py"]
    assert corpus.left == (Left(skipped=3, duplicates=1),)


def test_a_split_depends_on_the_name_alone(tmp_path: Path) -> None:
    names = [f"folder{n % 7}/file{n}.py" for n in range(200)]
    first = write(tmp_path / "first", {name: f"content of {name}" for name in names[:60]})
    second = write(tmp_path / "second", {name: f"another content of {name}" for name in reversed(names)})
    few, many = (splits(read_corpus(DataConfig(config.source, heldout_frac=0.25))) for config in (first, second))
    assert few == {name: many[name] for name in few}
    # binomial(200, 0.25): mean 50, standard deviation sqrt(200 x 0.25 x 0.75) = 6.1
    assert abs(list(many.values()).count("heldout") - 50) < 3 * 6.1


def test_few_documents_still_give_both_splits(tmp_path: Path) -> None:
    config = write(tmp_path, {"a.py": "a", "b.py": "b", "c.py": "c"})
    # sha256 of the names begins with f0 (a.py), 4a (b.py), c1 (c.py): their places are 0.94, 0.29, 0.76.
    assert splits(read_corpus(DataConfig(config.source, heldout_frac=1e-6))) == {
        "a.py": "train",
        "b.py": "heldout",
        "c.py": "train",
    }
    assert splits(read_corpus(DataConfig(config.source, heldout_frac=0.999))) == {
        "a.py": "train",
        "b.py": "heldout",
        "c.py": "heldout",
    }


def test_a_single_document_is_split_by_lines_without_losing_a_byte(tmp_path: Path) -> None:
    text = "".join(f"line {n}\r\n" for n in range(1, 40)) + "no newline at the end"
    path = tmp_path / "words.txt"
    path.write_bytes(text.encode())
    corpus = read_corpus(DataConfig(str(path), heldout_frac=0.1))
    # 40 lines, a tenth held out
    assert splits(corpus) == {"words.txt:1-36": "train", "words.txt:37-40": "heldout"}
    assert texts(corpus) == [
        text[: text.index("line 37")],
        text[text.index("line 37") :],
    ]


def test_two_lines_are_enough_and_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("a\nb\n")
    assert list(read_corpus(DataConfig(str(path))).texts("heldout")) == ["b\n"]
    path.write_text("a\n")
    with pytest.raises(UserError, match="single line"):
        read_corpus(DataConfig(str(path)))


def test_checksum_follows_names_and_contents(tmp_path: Path) -> None:
    first = read_corpus(write(tmp_path / "first", {"a.py": "a", "b.py": "b"}))
    same = read_corpus(write(tmp_path / "same", {"b.py": "b", "a.py": "a"}))
    renamed = read_corpus(write(tmp_path / "renamed", {"a.py": "a", "c.py": "b"}))
    edited = read_corpus(write(tmp_path / "edited", {"a.py": "a", "b.py": "B"}))
    assert first.sha256 == same.sha256
    assert len({first.sha256, renamed.sha256, edited.sha256}) == 3


def test_manifest_counts_bytes_per_split(tmp_path: Path) -> None:
    config = write(tmp_path, {"a.py": "four", "b.py": "é\n", "c.py": "seven.."})
    found = made(config)
    # b.py is held out (its place is the lowest, see above): é is two bytes, with its newline three; train has 4 + 7
    assert found.splits == {"train": SplitCounts(2, 11, 0), "heldout": SplitCounts(1, 3, 0)}
    assert (found.n_files, found.n_bytes) == (3, 14)
    assert (found.source_kind, found.source, found.python_version) == ("path", str(tmp_path), None)
    assert [file.name for file in found.files] == ["a.py", "b.py", "c.py"]


def test_odd_file_names_can_be_stored(tmp_path: Path) -> None:
    found = made(write(tmp_path, {"caf\udce9.py": "a", "b.py": "b"}))
    assert [file.name for file in found.files] == ["b.py", "caf\\xe9.py"]
    assert read_record(CorpusManifest, record_json(found).encode(), "corpus.json") == found


@pytest.mark.parametrize(
    ("files", "source", "message"),
    [
        ({}, "", "no text files ending in '.py'; change data.source"),
        (
            {"a.txt": "a", "b/c.txt": "c", "README": "r", ".git/x.md": "m"},
            "",
            r"ending in '.py'; there are: .txt \(2\), none \(1\); name theirs, as in --data.suffixes .txt",
        ),
        ({"a.py": b"\0", "b.py": b"\xff"}, "", "2 binary or empty left out"),
        ({"image.png": b"\x89PNG\0"}, "image.png", "binary or empty"),
        ({}, "absent", "no file or folder"),
    ],
)
def test_nothing_to_learn_from_is_refused(
    tmp_path: Path, files: dict[str, str | bytes], source: str, message: str
) -> None:
    write(tmp_path, files)
    with pytest.raises(UserError, match=message) as error:
        read_corpus(DataConfig(str(tmp_path / source)))
    assert str(tmp_path / source) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("heldout_frac", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_outside_0_1_is_refused(heldout_frac: float) -> None:
    with pytest.raises(UserError, match="heldout_frac"):
        DataConfig(heldout_frac=heldout_frac)


def test_the_standard_library_is_there_without_its_tests() -> None:
    corpus = read_corpus(DataConfig())
    names = [document.name for document in corpus.documents]
    assert {"ast.py", "json/decoder.py", "dataclasses.py"} <= set(names)
    parts = {part for name in names for part in name.split("/")}
    assert not parts & {"test", "tests", "idle_test", "site-packages", "sitecustomize.py"}
    assert len(names) > 400
    assert (corpus.sources[0].kind, corpus.sources[0].versions) == ("stdlib", {"python": sys.version.split()[0]})
