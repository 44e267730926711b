"""Files that claim to be a tokenizer: read whole, or refused in one line before anything of them runs."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinwire.data.tokenizer import Tokenizer
from thinwire.data.tokenizer_file import KNOWN_PATTERNS, check_tokenizer
from thinwire.errors import CorruptFile, UserError

CODE = "def close(quote):\n    return [[1], [2]]\n" * 20
TOKENIZER = Tokenizer.train([CODE], 280)
STORED = TOKENIZER.to_json()

Change = Callable[[dict[str, Any]], Any]


def changed(change: Change) -> str:
    values = json.loads(STORED)
    change(values)
    return json.dumps(values)


def refused(text: str) -> str:
    with pytest.raises(CorruptFile) as error:
        Tokenizer.from_json(text)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("tokenizer.json cannot be read: ")
    return str(error.value)


def with_pattern(pattern: str) -> Change:
    return lambda v: v["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": pattern})


def test_what_thinwire_writes_is_read_and_its_older_spelling_of_merges_too() -> None:
    check_tokenizer(STORED)
    check_tokenizer(changed(lambda v: v["model"].update(merges=[" ".join(merge) for merge in v["model"]["merges"]])))
    check_tokenizer(changed(lambda v: v["model"].update(ignore_merges=True)))


@pytest.mark.parametrize("pattern", KNOWN_PATTERNS)
def test_known_patterns_are_read_and_take_time_in_proportion_to_the_text(pattern: str) -> None:
    tokenizer = Tokenizer.from_json(changed(with_pattern(pattern)))
    for hostile in ("a" * 50_000, " " * 50_000 + "x", "\n" * 50_000 + " x", "(" * 50_000, "1" * 50_000, "'s" * 25_000):
        assert tokenizer.decode(tokenizer.encode(hostile)) == hostile


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(\w+\s?)*$", r".*.*.*=", r"\p{L}+", "", 5, None])
def test_a_pattern_that_may_never_end_is_refused_unread(pattern: Any) -> None:
    assert "split pattern" in refused(changed(with_pattern(pattern)))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda v: v.update(truncation={"max_length": 5}), "truncation would change or lose text"),
        (lambda v: v.update(normalizer={"type": "Lowercase"}), "normalizer would change"),
        (lambda v: v["model"].update(dropout=0.5), "model.dropout would change"),
        (lambda v: v["model"].update(unk_token="!"), "model.unk_token would change"),
        (lambda v: v["model"].update(type="WordPiece"), "no byte-level BPE"),
        (lambda v: v.update(decoder={"type": "Replace", "pattern": {"Regex": "(a+)+$"}}), "no byte-level BPE"),
        (lambda v: v.update(post_processor={"type": "TemplateProcessing"}), "would add tokens"),
        (lambda v: v.update(pre_tokenizer=None), "pre_tokenizer"),
        (lambda v: v.update(pre_tokenizer={"type": "Whitespace"}), "pre_tokenizer"),
        (lambda v: v["pre_tokenizer"]["pretokenizers"].pop(0), "split pattern"),
        (lambda v: v["pre_tokenizer"]["pretokenizers"][0].update(behavior="Removed"), "split pattern"),
        (lambda v: v["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True), "pre_tokenizer"),
        (lambda v: v["pre_tokenizer"].update(pretokenizers=[]), "pre_tokenizer"),
        (lambda v: v["pre_tokenizer"].update(pretokenizers="all"), "pre_tokenizer"),
        (lambda v: v["added_tokens"].append({"id": 280, "content": "def", "special": False}), "not special"),
        (lambda v: v["added_tokens"][0].update(id=7), "0, 1, 2 and so on"),
        (lambda v: v["added_tokens"][0].update(id=10**9), "0, 1, 2 and so on"),
        (lambda v: v["added_tokens"].clear(), "no special token <|endoftext|>"),
        (lambda v: v.update(added_tokens={}), "added_tokens is no list"),
        (lambda v: v.update(model=[]), "model is no object"),
        (lambda v: v["model"].update(vocab=[]), "model.vocab is no object"),
        (lambda v: v["model"].pop("merges"), "model.merges is no list"),
        (lambda v: v["model"]["vocab"].update({"!": "1"}), "0, 1, 2 and so on"),
        (lambda v: v["model"]["vocab"].update({"!": True}), "0, 1, 2 and so on"),
        (lambda v: v["model"]["vocab"].update({"!": 2}), "0, 1, 2 and so on"),
        (lambda v: v["model"]["vocab"].update({"木": 280}), "not one of bytes"),
        (lambda v: v["model"]["vocab"].update({"": 280}), "not one of bytes"),
        (lambda v: v["model"]["vocab"].update({"木": v["model"]["vocab"].pop("!")}), "not one of bytes"),
        (lambda v: v["model"]["vocab"].update({f"z{i}z": 280 + i for i in range(65300)}), "more than 65536"),
        (lambda v: v["model"]["merges"].append(["q", "q"]), "not between tokens"),
        (lambda v: v["model"]["merges"].append(["q", "q", "q"]), "no merge of two"),
        (lambda v: v["model"]["merges"].append([1, 2]), "no merge of two"),
    ],
)
def test_what_would_lose_text_or_break_later_is_refused(change: Change, problem: str) -> None:
    assert problem in refused(changed(change))


@pytest.mark.parametrize("text", ["", "null", "5", "[]", '"x"', "[" * 100_000, '{"model":' * 50_000, STORED[:-10]])
def test_no_json_object_is_no_tokenizer(text: str) -> None:
    refused(text)


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where values stand in a nested one, the first three of every long list or object."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [here] + [path for key in keys[:3] for path in paths(value[key], (*here, key))]


@given(
    st.sampled_from(paths(json.loads(STORED))[1:]),
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["", "x", [], {}, [[]], {"type": "Split"}, 1e30]),
)
def test_any_value_in_any_place_is_read_or_refused_in_one_line(path: tuple[Any, ...], value: Any) -> None:
    def change(values: dict[str, Any]) -> None:
        for key in path[:-1]:
            values = values[key]
        values[path[-1]] = value

    try:
        tokenizer = Tokenizer.from_json(changed(change))
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert tokenizer.decode(tokenizer.encode(CODE)) == CODE


def test_a_file_that_is_no_ordinary_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, problem in (("pipe", "no ordinary file"), (".", "no ordinary file"), ("absent", "No such file")):
        with pytest.raises(UserError, match=problem) as error:
            Tokenizer.load(tmp_path / name, 280)
        assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match="/dev/zero cannot be read: it is no ordinary file"):
        Tokenizer.load(Path("/dev/zero"), 280)
    with open(tmp_path / "huge.json", "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(CorruptFile, match="more than any tokenizer"):
        Tokenizer.load(tmp_path / "huge.json", 280)
    (tmp_path / "latin.json").write_bytes(b"\xe9")
    with pytest.raises(UserError, match="no UTF-8; restore it, or name"):
        Tokenizer.load(tmp_path / "latin.json", 280)
