"""A vocabulary trained here, written as encoder.json and vocab.bpe: ids are those of tiktoken, which reads the same."""

import json
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

from thinwire.data.tokenizer import Tokenizer
from thinwire.data.tokenizer_file import BYTE_OF, END_OF_TEXT, SPLIT_PATTERN
from thinwire.errors import UserError
from thinwire.interop.gpt2_tokenizer import ENCODER, MERGES, read_gpt2_tokenizer

N_SNIPPETS = 10_000
STDLIB = Path(sysconfig.get_paths()["stdlib"])
CODE = "".join((STDLIB / name).read_text(encoding="utf-8") for name in ("ast.py", "csv.py", "heapq.py", "shlex.py"))


def write_files(directory: Path, trained: Tokenizer) -> None:
    """GPT-2's two files: bytes, then merges in order, the end of text last."""
    merges = {a + b: f"{a} {b}" for a, b in json.loads(trained.to_json())["model"]["merges"]}
    ids = {token: i for i, token in enumerate([*BYTE_OF, *merges, END_OF_TEXT])}
    (directory / ENCODER).write_text(json.dumps(ids), encoding="utf-8")
    (directory / MERGES).write_text("\n".join(["#version: 0.2", *merges.values(), ""]), encoding="utf-8")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tinypython")
    write_files(directory, Tokenizer.train([CODE], 1024))
    return directory


@pytest.fixture
def reference(files: Path, monkeypatch: pytest.MonkeyPatch) -> tiktoken.Encoding:
    """tiktoken's own reading of the same files."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    ranks = data_gym_to_mergeable_bpe_ranks(str(files / MERGES), str(files / ENCODER))
    return tiktoken.Encoding(
        "tiny", pat_str=SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens={END_OF_TEXT: len(ranks)}
    )


def snippets() -> Iterator[str]:
    """Code, letters that merge often, all kinds of blanks and quotes, any characters: a quarter each."""
    draw = random.Random(0)
    odd = "abesrt _()[]:'\"\n\t=.,0159/\\-é\u00a0\u2003\u3000漢\u0301\r😀\x85\x1c\u200b"
    for _ in range(N_SNIPPETS // 4):
        start = draw.randrange(len(CODE) - 200)
        yield CODE[start : start + draw.randrange(1, 200)]
        yield "".join(draw.choice("esrtadfln") for _ in range(draw.randrange(5, 40)))
        yield "".join(draw.choice(odd) for _ in range(draw.randrange(1, 60)))
        ranges = [(0, 0x80), (0, 0x3000), (0, 0xD800), (0xE000, 0x110000)]
        yield "".join(chr(draw.randrange(*draw.choice(ranges))) for _ in range(draw.randrange(1, 20)))


def test_ids_are_those_of_tiktoken(files: Path, reference: tiktoken.Encoding) -> None:
    tokenizer = read_gpt2_tokenizer(files)
    assert (tokenizer.vocab_size, tokenizer.end_of_text) == (reference.n_vocab, reference.n_vocab - 1)
    texts = list(snippets())
    assert len(texts) == N_SNIPPETS
    assert tokenizer.encode_batch(texts) == reference.encode_ordinary_batch(texts)


def test_what_is_read_keeps_its_ids_in_our_own_format(files: Path) -> None:
    tokenizer = read_gpt2_tokenizer(files)
    again = Tokenizer.from_json(tokenizer.to_json())
    text = f"{CODE[:2000]}{END_OF_TEXT}"
    assert again.encode(text) == tokenizer.encode(text)
    assert again.decode(again.encode(text)) == text
    assert tokenizer.end_of_text not in tokenizer.encode(text)


def test_any_way_of_splitting_a_token_is_a_merge(tmp_path: Path) -> None:
    # "b c" comes before "a b" and makes x, a, bc. The file says that ab and c make abc; so do a and bc.
    (tmp_path / MERGES).write_text("#version: 0.2\nb c\na b\nab c\n")
    ids = {token: i for i, token in enumerate([*BYTE_OF, "bc", "ab", "abc"])}
    (tmp_path / ENCODER).write_text(json.dumps(ids))
    assert read_gpt2_tokenizer(tmp_path).encode("xabc") == [ids["x"], ids["abc"]]


def test_files_that_do_not_fit_are_refused_by_name(files: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"encoder\.json cannot be read"):
        read_gpt2_tokenizer(_copy(files, tmp_path / "a", encoder="{"))
    with pytest.raises(UserError, match="does not map tokens to ids"):
        read_gpt2_tokenizer(_copy(files, tmp_path / "b", encoder='["a"]'))
    with pytest.raises(UserError, match="do not fit each other"):
        read_gpt2_tokenizer(_copy(files, tmp_path / "c", encoder='{"a": 0}'))
    with pytest.raises(UserError, match="'only', which is no merge"):
        read_gpt2_tokenizer(_copy(files, tmp_path / "d", merges="#version: 0.2\nonly\n"))
    with pytest.raises(UserError, match=r"vocab\.bpe cannot be read"):
        read_gpt2_tokenizer(tmp_path)


def _copy(files: Path, directory: Path, encoder: str | None = None, merges: str | None = None) -> Path:
    directory.mkdir()
    (directory / ENCODER).write_text(encoder or (files / ENCODER).read_text(encoding="utf-8"), encoding="utf-8")
    (directory / MERGES).write_text(merges or (files / MERGES).read_text(encoding="utf-8"), encoding="utf-8")
    return directory
