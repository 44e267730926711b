"""Long texts in pieces: the tokens of the whole, in memory that does not grow."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

import thinwire
from thinwire.data import pieces as module
from thinwire.data.pieces import groups, pieces
from thinwire.data.tokenizer import Tokenizer
from thinwire.data.tokenizer_file import KNOWN_PATTERNS, SPLIT_PATTERN

ROOT = Path(thinwire.__file__).parent.parent
CODE = "".join(path.read_text() for path in sorted((ROOT / "thinwire" / "data").glob("*.py")))
ALPHABET = "aZst0 7éß木١Ⅷ_'’ \t\n\r\f\v\x1c\x85\u00a0\u2028\u3000/.(\"#\u0301\U0001f600"
"""Every kind of character that a split pattern or Python tells apart, and those that contractions are made of."""
texts = st.text(st.sampled_from(ALPHABET), max_size=60) | st.text(max_size=30)


@contextmanager
def pieces_of(size: int, near: int = 8) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", size)
        patch.setattr(module, "_NEAR", near)
        patch.setattr(module, "AT_ONCE", 4 * size)
        yield


def splits(pattern: str, text: str) -> list[str]:
    found = pre_tokenizers.Split(Regex(pattern), "isolated").pre_tokenize_str(text)
    return [part for part, _ in found]


@given(texts, st.integers(2, 40), st.integers(1, 8))
def test_pieces_join_to_the_text_within_their_bound(text: str, size: int, near: int) -> None:
    with pieces_of(size, near):
        parts = list(pieces(text))
    assert "".join(parts) == text
    assert all(len(part) <= size for part in parts)
    assert all(parts) or parts == [""]


@pytest.mark.parametrize("pattern", KNOWN_PATTERNS)
@given(texts)
@example("don't 's  x\n\n\ny")
@example("a/\r\n/\n 12345 x")
def test_a_text_splits_alike_on_both_sides_of_every_place_to_cut(pattern: str, text: str) -> None:
    whole = splits(pattern, text)
    for match in module._PLACE.finditer(text):
        assert splits(pattern, text[: match.start()]) + splits(pattern, text[match.start() :]) == whole


@given(texts)
def test_behind_a_newline_too_under_the_own_pattern(text: str) -> None:
    whole = splits(SPLIT_PATTERN, text)
    for end in [i + 1 for i, character in enumerate(text) if character == "\n"]:
        if text[end : end + 1].isalnum():
            assert splits(SPLIT_PATTERN, text[:end]) + splits(SPLIT_PATTERN, text[end:]) == whole


def test_the_last_place_is_cut_then_a_newline_then_anywhere() -> None:
    with pieces_of(10, 3):
        assert list(pieces("aa bb cc dd ee")) == ["aa bb cc", " dd ee"]  # 10 lies within `dd`
        assert list(pieces("a " + "(" * 12)) == ["a", " (((((((((", "((("]
        assert list(pieces("木木\n木木木木木木木木")) == ["木木\n", "木木木木木木木木"]
        assert list(pieces("a" * 10)) == ["a" * 10]


@pytest.mark.parametrize("size", [40, 1000])
def test_real_code_in_pieces_has_the_tokens_of_the_whole(size: int) -> None:
    tokenizer = Tokenizer.train([CODE], 800)
    whole = tokenizer._backend.encode(CODE, add_special_tokens=False).ids
    with pieces_of(size):
        assert tokenizer.encode(CODE) == whole
        assert tokenizer.encode_batch([CODE, "", CODE[:50]]) == [whole, [], tokenizer.encode(CODE[:50])]
        assert Tokenizer.train([CODE], 800).sha256 == tokenizer.sha256
        stream = np.concatenate(list(tokenizer.streams([CODE, "", "x"])))
    end = tokenizer.end_of_text
    assert stream.tolist() == [*whole, end, end, *tokenizer.encode("x"), end]


def test_groups_end_once_they_are_full() -> None:
    with pieces_of(1):  # 4 characters at a time
        assert list(groups([(1, "abc"), (2, "d"), (3, "efghij"), (4, "k")])) == [
            [(1, "abc"), (2, "d")],
            [(3, "efghij")],
            [(4, "k")],
        ]
        assert list(groups([])) == []


@pytest.mark.slow
def test_a_line_of_8_megabytes_takes_little_memory() -> None:
    """Before there were pieces, tokenising took some 260 bytes a character: 2 GB here."""
    program = (
        "import resource\n"
        "from thinwire.data.tokenizer import Tokenizer\n"
        "text = 'foo bar x = 1 + def ( ) ' * 333_000\n"
        "tokenizer = Tokenizer.train([text], 270)\n"
        "n = sum(map(len, tokenizer.streams([text])))\n"
        "print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"},
    )
    assert done.returncode == 0, done.stderr
    n_tokens, megabytes = map(int, done.stdout.split())
    assert n_tokens > 1_000_000
    assert megabytes < 500
