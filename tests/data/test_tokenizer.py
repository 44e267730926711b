import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import thinwire
from thinwire.data.tokenizer import Tokenizer
from thinwire.data.tokenizer_file import BYTE_OF
from thinwire.errors import CorruptFile, UserError

ROOT = Path(thinwire.__file__).parent.parent
CODE = 'def close(quote):\n    if quote == "\'":\n        return [[1], [2]]\n    while True:\n        pass\n' * 20
TOKENIZER = Tokenizer.train([CODE], 300)
BYTES_ONLY = Tokenizer.train(["anything"], 257)


def test_vocabulary_has_exactly_the_size_asked_for() -> None:
    assert TOKENIZER.vocab_size == 300
    assert max(TOKENIZER.encode(CODE)) < 300


def test_smallest_vocabulary_is_the_end_of_text_and_all_bytes() -> None:
    # Ids: 0 end of text, 1.. the 188 printable Latin-1 bytes from "!" (0x21) on, then the other 68 bytes from 0x00
    # on. "a" is 1 + 0x61 - 0x21 = 65, newline is 1 + 188 + 10 = 199, é is C3 A9:
    # 94 printable ASCII and 12 of A1..AC before AE.., so A9 is 1 + 94 + 8 = 103 and C3 is 1 + 106 + 0xC3 - 0xAE = 128.
    assert BYTES_ONLY.encode("a\né") == [65, 199, 128, 103]
    assert BYTES_ONLY.end_of_text == 0
    assert sorted(BYTE_OF.values()) == list(range(256))


def test_the_split_pattern_glues_newlines_to_punctuation_and_spaces_to_words() -> None:
    texts = {TOKENIZER.token_text(token) for token in TOKENIZER.encode(CODE)}
    assert {":\n", "):\n", " quote", "]]\n"} <= texts
    assert not any(text.strip() and text.startswith("\n") for text in texts)


@given(st.text(), st.text())
def test_any_text_survives_a_round_trip_alone_and_in_a_batch(first: str, second: str) -> None:
    batch = TOKENIZER.encode_batch([first, second])
    assert batch == [TOKENIZER.encode(first), TOKENIZER.encode(second)]
    assert [TOKENIZER.decode(ids) for ids in batch] == [first, second]


@pytest.mark.parametrize("tokenizer", [TOKENIZER, Tokenizer.from_json(TOKENIZER.to_json())])
def test_a_literal_end_of_text_in_a_document_is_ordinary_text(tokenizer: Tokenizer) -> None:
    text = 'END = "<|endoftext|>"<|endoftext|>\n'
    ids = tokenizer.encode(text)
    assert tokenizer.end_of_text not in ids
    assert tokenizer.encode_batch([text]) == [ids]
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode([tokenizer.end_of_text]) == "<|endoftext|>"


def test_json_gives_the_same_tokenizer_back() -> None:
    again = Tokenizer.from_json(TOKENIZER.to_json())
    assert again.to_json() == TOKENIZER.to_json()
    assert again.sha256 == TOKENIZER.sha256 != BYTES_ONLY.sha256
    assert again.encode(CODE) == TOKENIZER.encode(CODE)


def test_token_text_shows_bytes_that_are_no_text_as_escapes() -> None:
    assert [BYTES_ONLY.token_text(token) for token in BYTES_ONLY.encode("aé ")] == ["a", "\\xc3", "\\xa9", " "]
    assert BYTES_ONLY.token_text(BYTES_ONLY.end_of_text) == "<|endoftext|>"
    for token in (-1, 257):
        with pytest.raises(UserError, match="0..256"):
            BYTES_ONLY.token_text(token)


def test_training_is_the_same_in_every_process() -> None:
    program = (
        "from pathlib import Path; from thinwire.data.tokenizer import Tokenizer\n"
        "texts = [path.read_text() for path in sorted(Path('thinwire/data').glob('*.py'))]\n"
        "print(Tokenizer.train(texts, 500).sha256)"
    )
    digests = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": threads, "RAYON_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for threads in ("1", "3")
    ]
    assert digests[0] == digests[1]
    assert len(digests[0].strip()) == 64


@pytest.mark.parametrize("vocab_size", [0, 256, 65537])
def test_a_vocabulary_that_does_not_fit_is_refused(vocab_size: int) -> None:
    with pytest.raises(UserError, match="257..65536"):
        Tokenizer.train([CODE], vocab_size)


def test_a_corpus_too_small_for_the_vocabulary_is_refused_with_what_it_yields() -> None:
    # "abab" has one pair that occurs twice, ab; joined it leaves (ab, ab), which occurs once: 257 + 1 tokens.
    with pytest.raises(UserError, match="only 258 tokens of the 400 .*vocab_size 258 or less.*--data.tokenizer"):
        Tokenizer.train(["abab"], 400)
    assert Tokenizer.train(["abab"], 258).vocab_size == 258


def test_a_file_that_is_no_tokenizer_is_refused() -> None:
    with pytest.raises(CorruptFile, match="tokenizer.json"):
        Tokenizer.from_json(TOKENIZER.to_json()[:-10])
    with pytest.raises(UserError, match="endoftext"):
        Tokenizer.from_json(TOKENIZER.to_json().replace("<|endoftext|>", "<|other|>"))
