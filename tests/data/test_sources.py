"""Corpora of many documents in a file: .jsonl, .parquet, Hugging Face data sets; and text beside them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thinwire.data import pieces, shards, token_file
from thinwire.data.config import DataConfig
from thinwire.data.corpus import place
from thinwire.data.shards import PreparedData, prepare
from thinwire.errors import CorruptFile, UserError

TEXTS = [f"def f{i}(value, other={i}):\n    return value[{i}] + other * {i * 7}\n" for i in range(40)]
VOCABULARY = 270


def write_jsonl(path: Path, records: list) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def write_parquet(path: Path, columns: dict[str, list]) -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=7)
    return path


def prepared(source: object, tmp_path: Path, **more: object) -> PreparedData:
    config = DataConfig(source=str(source), heldout_frac=0.3)
    return prepare(replace(config, **more), VOCABULARY, tmp_path / "cache")  # pyright: ignore[reportArgumentType]


def documents(data: PreparedData) -> dict[str, list[str]]:
    """The text of every document, by split, in order."""
    streams = {"train": data.train, "heldout": data.heldout}
    return {
        split: data.tokenizer.decode(tokens.tolist()).split("<|endoftext|>")[:-1] for split, tokens in streams.items()
    }


def expected(names: list[str], texts: list[str] = TEXTS, heldout_frac: float = 0.3) -> dict[str, list[str]]:
    """Each text in the split that its name gives."""
    found: dict[str, list[str]] = {"train": [], "heldout": []}
    for name, text in zip(names, texts, strict=True):
        found["heldout" if place(name) < heldout_frac else "train"].append(text)
    assert found["heldout"] and found["train"]
    return found


def test_every_line_of_a_jsonl_file_is_a_document(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "code.jsonl", [{"id": i, "content": text} for i, text in enumerate(TEXTS)])
    data = prepared(path, tmp_path, text_field="content")
    assert documents(data) == expected([f"code.jsonl:{n}" for n in range(1, 41)])
    assert data.train.dtype == np.uint16 and isinstance(data.train, np.memmap)
    manifest = data.corpus_manifest
    assert (manifest.source_kind, manifest.n_files) == ("records", 40)
    assert manifest.n_bytes == sum(len(text.encode()) for text in TEXTS)
    assert manifest.splits["train"].n_files == len(documents(data)["train"])


def test_every_row_of_a_parquet_file_is_a_document(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "code.parquet", {"text": TEXTS, "stars": list(range(40))})
    assert documents(prepared(path, tmp_path)) == expected([f"code.parquet:{n}" for n in range(1, 41)])


def test_a_folder_may_hold_all_kinds(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    (folder / "sub").mkdir(parents=True)
    write_jsonl(folder / "a.jsonl", [{"text": text} for text in TEXTS[:15]])
    write_parquet(folder / "sub" / "b.parquet", {"text": TEXTS[15:30]})
    for i, text in enumerate(TEXTS[30:]):
        (folder / f"c{i}.py").write_text(text)
    (folder / "notes.txt").write_text("not asked for")
    names = [*(f"a.jsonl:{n}" for n in range(1, 16)), *(f"c{i}.py" for i in range(10))]
    names += [f"sub/b.parquet:{n}" for n in range(1, 16)]
    data = prepared(folder, tmp_path, suffixes=(".py", ".jsonl", ".parquet"))
    assert documents(data) == expected(names, [*TEXTS[:15], *TEXTS[30:], *TEXTS[15:30]])
    only_text = prepared(folder, tmp_path, suffixes=(".py",))
    assert only_text.corpus_manifest.n_files == 10


def test_documents_are_limited_skipped_and_counted(tmp_path: Path) -> None:
    records: list = [{"text": text} for text in TEXTS[:30]]
    records[3:3] = [{"text": ""}, {"text": None}, {"text": "nul\0"}, {"text": TEXTS[0]}]
    data = prepared(write_jsonl(tmp_path / "x.jsonl", records), tmp_path)
    assert (data.corpus_manifest.n_skipped, data.corpus_manifest.n_duplicates) == (3, 1)
    assert data.corpus_manifest.n_files == 30
    fewer = prepared(tmp_path / "x.jsonl", tmp_path, max_documents=24)
    assert fewer.corpus_manifest.n_files == 20  # 24 that were read, less the four above


def test_the_tokenizer_learns_from_the_first_training_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = TEXTS + [f"{'zq' * 50}{i}" for i in range(10)]
    path = write_jsonl(tmp_path / "x.jsonl", [{"text": text} for text in texts])
    assert len(prepared(path, tmp_path).tokenizer.encode("zq")) == 1
    monkeypatch.setattr(shards, "TOKENIZER_BYTES", 600)
    data = prepare(DataConfig(source=str(path), heldout_frac=0.3), VOCABULARY, tmp_path / "other")
    assert len(data.tokenizer.encode("zq")) == 2
    assert documents(data) == expected([f"x.jsonl:{n}" for n in range(1, 51)], texts)


def test_streams_are_the_same_however_often_they_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_jsonl(tmp_path / "x.jsonl", [{"text": text} for text in TEXTS])
    whole = prepared(path, tmp_path)
    for module in (pieces, token_file):
        monkeypatch.setattr(module, "AT_ONCE", 100)
    often = prepare(DataConfig(source=str(path), heldout_frac=0.3), VOCABULARY, tmp_path / "other")
    assert np.array_equal(whole.train, often.train) and np.array_equal(whole.heldout, often.heldout)
    assert whole.corpus_manifest == often.corpus_manifest


def test_shards_are_reused_and_a_changed_source_is_prepared_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_jsonl(tmp_path / "x.jsonl", [{"text": text} for text in TEXTS])
    first = prepared(path, tmp_path)
    monkeypatch.setattr(shards, "_write", None)
    assert prepared(path, tmp_path).corpus_manifest == first.corpus_manifest
    monkeypatch.undo()
    write_jsonl(path, [{"text": text} for text in TEXTS[:-1]])
    second = prepared(path, tmp_path)
    assert second.directory != first.directory
    assert second.corpus_manifest.sha256 != first.corpus_manifest.sha256


@pytest.mark.parametrize("name", ["train.bin", "heldout.bin", "tokenizer.json", "corpus.json"])
def test_a_corrupt_shard_is_noticed(name: str, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "x.jsonl", [{"text": text} for text in TEXTS])
    file = prepared(path, tmp_path).directory / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptFile, match=f"{name} does not match its checksum; delete the folder {file.parent}"):
        prepared(path, tmp_path)


def refused(tmp_path: Path, source: Path, **more: object) -> str:
    with pytest.raises(UserError) as error:
        prepared(source, tmp_path, **more)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "cache").exists() or list((tmp_path / "cache").iterdir()) == []
    return str(error.value)


def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "x.jsonl", [{"text": "a"}, {"code": "b", "size": 3}])
    assert f"{path}:2 has no field text; there are: code, size; set data.text_field" in refused(tmp_path, path)
    path = write_jsonl(tmp_path / "x.jsonl", [{"text": "a"}, {"text": 3}])
    assert f"{path}:2: text holds int, not text" in refused(tmp_path, path)
    path.write_text('{"text": "a"}\n{"text": "b"\n')
    assert f"{path}:2 is no JSON" in refused(tmp_path, path)
    path = write_jsonl(tmp_path / "x.jsonl", [["a"]])
    assert f"{path}:1 has no field text; set data.text_field" in refused(tmp_path, path)
    path = write_parquet(tmp_path / "x.parquet", {"code": TEXTS})
    assert f"{path} has no field text; there are: code" in refused(tmp_path, path)
    path.write_bytes(b"PAR1 but not really")
    assert f"{path} is no readable parquet file" in refused(tmp_path, path)


def test_too_little_text_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "x.jsonl", [{"text": ""}, {"text": "a"}])
    message = refused(tmp_path, path)
    assert "holds 1 documents with text (1 binary or empty left out), too few for training and 30% held out" in message
    path.write_text("")
    assert "holds 0 documents" in refused(tmp_path, path)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UserError, match="max_documents -1 is not in"):
        DataConfig(max_documents=-1)
    with pytest.raises(UserError, match="copies 0 is not in"):
        DataConfig(copies=0)
    with pytest.raises(UserError, match="suffixes is empty"):
        DataConfig(suffixes=())


# --- Hugging Face data sets: in a process of their own, whose warnings are not ours --------------------------------

PREPARE = """
import json, sys
from pathlib import Path
from thinwire.data.config import DataConfig
from thinwire.data.shards import prepare
from thinwire.errors import UserError
config = DataConfig(heldout_frac=0.3, **json.loads(sys.argv[1]))
try:
    data = prepare(config, 270, Path(sys.argv[2]))
except UserError as error:
    sys.exit(f"refused: {error}")
text = {"train": data.train, "heldout": data.heldout}
text = {s: data.tokenizer.decode(t.tolist()).split("<|endoftext|>")[:-1] for s, t in text.items()}
found = data.corpus_manifest
print(json.dumps({"documents": text, "n_files": found.n_files, "kind": found.source_kind}))
"""


def in_other_process(cache: Path, **config: object) -> subprocess.CompletedProcess[str]:
    offline = {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(cache.parent / "hf")}
    command = [sys.executable, "-c", PREPARE, json.dumps(config), str(cache)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | offline)


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    folder.mkdir()
    write_parquet(folder / "train-00000-of-00002.parquet", {"code": TEXTS[:20]})
    write_parquet(folder / "train-00001-of-00002.parquet", {"code": TEXTS[20:]})
    return folder


@pytest.mark.slow
def test_a_hugging_face_data_set_is_streamed_in_order(data_set: Path, tmp_path: Path) -> None:
    done = in_other_process(tmp_path / "cache", source=f"hf:{data_set}", text_field="code")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["documents"] == expected([str(n) for n in range(1, 41)])
    assert (found["kind"], found["n_files"]) == ("hugging face", 40)
    fewer = in_other_process(tmp_path / "cache", source=f"hf:{data_set}", text_field="code", max_documents=25)
    assert json.loads(fewer.stdout.splitlines()[-1])["n_files"] == 25


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "row 1 has no field text; there are: code"),
        ({"text_field": "code", "split": "validation"}, "cannot be read"),
        ({"source": "hf:no/such-set"}, "data.source names the set, data.subset and data.split its parts"),
    ],
)
def test_a_data_set_that_cannot_be_read_is_one_line(
    data_set: Path, tmp_path: Path, config: dict[str, str], message: str
) -> None:
    done = in_other_process(tmp_path / "cache", **({"source": f"hf:{data_set}"} | config))
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("refused: ")]
    assert done.returncode == 1 and message in line


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["set", "splits"])
def test_a_folder_that_save_to_disk_wrote_is_read(kind: str, tmp_path: Path) -> None:
    write = (
        "import json, sys; from datasets import Dataset, DatasetDict\n"
        "rows = Dataset.from_dict({'text': json.loads(sys.argv[1])})\n"
        "splits = DatasetDict(train=rows, test=rows.select([0]))\n"
        "(splits if sys.argv[2] == 'splits' else rows).save_to_disk(sys.argv[3])"
    )
    folder = str(tmp_path / "saved")
    subprocess.run([sys.executable, "-c", write, json.dumps(TEXTS), kind, folder], check=True, capture_output=True)
    done = in_other_process(tmp_path / "cache", source=f"hf:{folder}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["documents"] == expected([str(n) for n in range(1, 41)])
    if kind == "splits":
        wrong = in_other_process(tmp_path / "cache", source=f"hf:{folder}", split="absent")
        assert "has no split absent; there are: train, test; set data.split" in wrong.stderr
