"""Tasks as token ids, under the tokenizers that the standard library of Python 3.11 gives (tests/tokenizers)."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import thinwire
from thinwire.circuits.prompts import Prompts
from thinwire.data.config import DataConfig
from thinwire.data.corpus import read_corpus
from thinwire.data.tokenizer import Tokenizer
from thinwire.errors import CorruptFile, UserError
from thinwire.tasks.answers import PREFIX, AnswerTokens, Side, Unavailable, choose_answers, pairs_of, sides
from thinwire.tasks.family import load_family
from thinwire.tasks.registry import FURTHER, PAPER
from thinwire.tasks.shifts import N_PAIRS, shifts_of
from thinwire.tasks.task import SPLITS, Answers, Pair, Split, Task
from thinwire.tasks.tokens import (
    TaskTokens,
    from_arrays,
    to_arrays,
    tokenize,
    tokenize_shift,
    tokenize_splits,
)
from thinwire.verification.finding import NotRun
from thinwire.verification.patching import require_aligned

NAMES = (*PAPER, *FURTHER)
CONTEXT = 64
VOCAB_SIZES = (1024, 2048)
UNAVAILABLE = {(1024, "for_while"), (1024, "while_return_true")}
"""` while` is two tokens in the smaller vocabulary, ` for` and ` return` are one."""
AVAILABLE = [(size, name) for size in VOCAB_SIZES for name in NAMES if (size, name) not in UNAVAILABLE]
each_available_task = pytest.mark.parametrize(("size", "name"), AVAILABLE)


@cache
def stdlib_tokenizer(size: int) -> Tokenizer:
    path = Path(__file__).parents[1] / "tokenizers" / f"stdlib-{size}.json"
    return Tokenizer.from_json(path.read_text(encoding="utf-8"))


@cache
def tokenized(size: int, name: str) -> dict[Split, TaskTokens]:
    return tokenize_splits(load_family(name), stdlib_tokenizer(size), CONTEXT)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return stdlib_tokenizer(1024)


def answers_of(task: Task, tokenizer: Tokenizer) -> AnswerTokens:
    return choose_answers(task, *sides([pair for split in SPLITS for pair in pairs_of(task, split)], tokenizer))


def last(ids: np.ndarray, length: np.ndarray) -> list[int]:
    return ids[np.arange(len(ids)), length - 1].tolist()


def accuracy_of_lookup(train: tuple[list[int], list[int]], test: tuple[list[int], list[int]]) -> float:
    """Accuracy on (clean, corrupt) test prompts of the best answer per feature value on the train prompts."""
    votes = Counter(train[0])
    votes.subtract(train[1])
    # +1 for a right answer; a value without a majority is a coin toss.
    right = [np.sign(votes[value]) for value in test[0]] + [-np.sign(votes[value]) for value in test[1]]
    return float(np.mean([(score + 1) / 2 for score in right]))


@each_available_task
def test_rows_are_the_prompts_and_answers_continue_them(size, name):
    task, tokens, tokenizer = load_family(name), tokenized(size, name)["test"], stdlib_tokenizer(size)
    assert len(tokens) == len(task.pairs("test"))
    answers = next(a for a in task.alternatives if (a.answer, a.other) == tokens.answer_texts)
    assert tokens.answer != tokens.other
    for row, pair in enumerate(task.pairs("test")[:40]):
        clean = tokens.clean[row, : tokens.clean_length[row]].tolist()
        corrupt = tokens.corrupt[row, : tokens.corrupt_length[row]].tolist()
        assert tokenizer.decode(clean) == PREFIX + pair.clean
        after = tokenizer.encode(PREFIX + pair.clean + answers.answer + answers.answer_rest)
        assert after[: len(clean) + 1] == [*clean, tokens.answer]
        after = tokenizer.encode(PREFIX + pair.corrupt + answers.other + answers.other_rest)
        assert after[: len(corrupt) + 1] == [*corrupt, tokens.other]
        assert (tokens.clean[row, len(clean) :] == tokenizer.end_of_text).all()


@each_available_task
def test_the_sides_of_all_pairs_are_equally_long(size, name):
    tokens = tokenized(size, name)
    assert all(tokens[split].aligned.all() for split in SPLITS)
    assert sum(len(tokens[split]) for split in SPLITS) >= 1000
    assert max(tokens[split].clean_length.max() for split in SPLITS) <= 40


@each_available_task
def test_aligned_sides_differ_in_a_token_or_two(size, name):
    tokens = tokenized(size, name)["train"]
    moved = name == "enumerate_range"  # two tokens stand elsewhere: the bags are equal
    for clean, corrupt in zip(tokens.clean, tokens.corrupt, strict=True):
        if moved:
            assert sorted(clean) == sorted(corrupt)
        else:
            assert 1 <= (clean != corrupt).sum() <= 2


@each_available_task
def test_the_last_token_alone_is_at_chance(size, name):
    train, test = tokenized(size, name)["train"], tokenized(size, name)["test"]
    # Both sides of a pair end in the same token, so any bigram table, learnt here or there, gets one side right.
    assert last(test.clean, test.clean_length) == last(test.corrupt, test.corrupt_length)
    features = [
        (last(tokens.clean, tokens.clean_length), last(tokens.corrupt, tokens.corrupt_length))
        for tokens in (train, test)
    ]
    assert accuracy_of_lookup(*features) == 0.5


@cache
def bigrams(size: int) -> Counter[tuple[int, int]]:
    """How often a token follows another in this package's own source."""
    tokenizer, package = stdlib_tokenizer(size), Path(thinwire.__file__).parent
    rows = tokenizer.encode_batch([path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))])
    return Counter(pair for row in rows for pair in pairwise(row))


@each_available_task
def test_a_bigram_table_of_real_code_is_at_chance(size, name):
    tokens, table = tokenized(size, name)["test"], bigrams(size)
    preference = {token: table[token, tokens.answer] - table[token, tokens.other] for token in range(size)}
    right = [np.sign(preference[token]) for token in last(tokens.clean, tokens.clean_length)]
    right += [-np.sign(preference[token]) for token in last(tokens.corrupt, tokens.corrupt_length)]
    assert np.mean([(score + 1) / 2 for score in right]) == 0.5


@each_available_task
def test_the_position_alone_is_at_chance(size, name):
    features = [
        (tokens.clean_length.tolist(), tokens.corrupt_length.tolist())
        for tokens in (tokenized(size, name)[split] for split in ("train", "test"))
    ]
    assert accuracy_of_lookup(*features) == 0.5


@pytest.mark.parametrize(("size", "name"), sorted(UNAVAILABLE))
def test_a_contrast_of_unequal_words_makes_a_task_unavailable(size, name):
    with pytest.raises(
        Unavailable, match=rf"{name} is unavailable .* 1024 tokens: only 0 of .*' wh' 'ile'.*vocab_size"
    ):
        tokenized(size, name)


@pytest.mark.slow
@pytest.mark.parametrize("size", VOCAB_SIZES)
def test_this_interpreters_own_library_gives_the_same_tasks(size):
    learnt = Tokenizer.train(read_corpus(DataConfig()).texts("train"), size)
    for name in NAMES:
        if (size, name) not in UNAVAILABLE:
            assert tokenize(load_family(name), learnt, "test", CONTEXT).aligned.all()


@each_available_task
def test_shifted_pairs_keep_the_answers(size, name):
    task, tokens = load_family(name), tokenized(size, name)["test"]
    for shift in shifts_of(task):
        shifted = tokenize_shift(task, shift, stdlib_tokenizer(size), tokens, CONTEXT)
        assert len(shifted) >= N_PAIRS // 2
        assert shifted.aligned.all()
        assert (shifted.answer, shifted.other, shifted.answer_texts) == (
            tokens.answer,
            tokens.other,
            tokens.answer_texts,
        )
        assert last(shifted.clean, shifted.clean_length) == last(shifted.corrupt, shifted.corrupt_length)


def test_a_shift_keeps_the_answers_of_stored_pairs_or_refuses(tokenizer):
    task, tokens = load_family("else_elif"), tokenized(1024, "else_elif")["test"]
    stale = replace(tokens, answer_texts=("x", "y"))
    with pytest.raises(UserError, match="pairs of task else_elif have other answers than it has now; prune again"):
        tokenize_shift(task, "deeper", tokenizer, stale, CONTEXT)


def test_a_shift_that_does_not_fit_is_unavailable(tokenizer):
    with pytest.raises(Unavailable, match="128 pairs of task bracket_brace under the shift dilution_12 only 0 are"):
        tokenize_shift(
            load_family("bracket_brace"), "dilution_12", tokenizer, tokenized(1024, "bracket_brace")["test"], 32
        )


def test_lookup_baseline_finds_a_cue_that_is_there():
    # 7 stands for clean in 2 of 3 train prompts, 8 for corrupt; on test that is right for 7 and for 8.
    assert accuracy_of_lookup(([7, 7], [7, 8]), ([7], [8])) == 1.0


def test_the_same_tokenizer_gives_the_same_arrays(tokenizer):
    again = to_arrays(tokenize(load_family("with_as"), tokenizer, "train", CONTEXT))
    first = to_arrays(tokenized(1024, "with_as")["train"])
    assert {name: array.tobytes() for name, array in again.items()} == {
        name: array.tobytes() for name, array in first.items()
    }


def test_arrays_come_back_as_they_were():
    tokens = tokenized(1024, "single_double_quote")["validation"]
    arrays = to_arrays(tokens)
    back = from_arrays(arrays)
    assert back.answer_texts == ('")\n', "')\n")
    assert (back.answer, back.other) == (tokens.answer, tokens.other)
    assert np.array_equal(back.clean, tokens.clean) and np.array_equal(back.corrupt, tokens.corrupt)
    assert np.array_equal(back.aligned, tokens.aligned)
    assert {array.dtype.name for array in arrays.values()} == {
        "int16",
        "int64",
        "uint8",
    }
    assert all(getattr(back, name).dtype == np.int64 for name in ("clean", "corrupt", "clean_length"))
    wide = from_arrays(arrays | {"clean": tokens.clean + 70_000})
    assert to_arrays(wide)["clean"].dtype == np.int32 and np.array_equal(wide.clean, tokens.clean + 70_000)
    assert np.array_equal(from_arrays(arrays | {"clean": tokens.clean}).clean, tokens.clean)  # of old
    del arrays["corrupt_length"]
    with pytest.raises(CorruptFile, match="lacks corrupt_length"):
        from_arrays(arrays)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("clean", lambda a: a[:0], "clean holds no prompts"),
        ("clean", lambda a: a[0], "clean holds no prompts"),
        ("clean", lambda a: a.astype(np.float32), "clean holds no integers"),
        ("corrupt", lambda a: a[1:], "corrupt has shape"),
        ("corrupt", lambda a: a - 9999, "corrupt holds a negative token"),
        ("clean_length", lambda a: a * 0, "clean_length is not in 1.."),
        ("clean_length", lambda a: -a, "clean_length is not in 1.."),
        ("corrupt_length", lambda a: a.astype(np.int64) + 1_000_000, "corrupt_length is not in 1.."),
        ("answers", lambda a: a[:1], "answers has shape"),
        ("answers", lambda a: np.array([3, 3]), "answers are not two tokens"),
        ("answers", lambda a: np.array([3, -3]), "answers are not two tokens"),
        ("answers", lambda a: np.array([1.5, 2.5]), "answers holds no integers"),
        ("answer_text", lambda a: np.array([255], np.uint8), "answer_text is no text"),
        ("answer_text", lambda a: a[:0], "answer_text is no text"),
        ("other_text", lambda a: a[None], "other_text has shape"),
        ("further", lambda a: np.zeros(3), "further has no place in it"),
    ],
)
def test_arrays_that_no_pairs_have_are_refused(name, change, words):
    arrays = to_arrays(tokenized(1024, "single_double_quote")["validation"])
    arrays[name] = change(arrays.get(name))
    with pytest.raises(CorruptFile, match=f"here: .*{words}"):
        from_arrays(arrays, "here")


def test_a_small_vocabulary_falls_back_to_shorter_answers_and_then_says_why():
    small = Tokenizer.train(read_corpus(DataConfig(source=str(Path(__file__).parents[1]))).texts("train"), 257 + 20)
    quotes = answers_of(load_family("single_double_quote"), small)
    assert (quotes.answers.answer, quotes.answers.answer_rest) == ('"', ")\n")
    # Of ` x` and ` y` not even one is a token among the first 20 merges.
    with pytest.raises(Unavailable, match=r"var_swap is unavailable .* 277 tokens: ' x' begins with .*vocab_size"):
        tokenize(load_family("var_swap"), small, "test", 200)


@dataclass(frozen=True)
class FixedTask:
    """A user's own task as a Python object: `for` and `if` before a name, the same pairs in every split."""

    alternatives: tuple[Answers, ...]
    extra: tuple[Pair, ...] = ()
    name: str = "fixed"
    version: int = 1
    description: str = ""
    excluded_cue: str = ""

    def pairs(self, split: Split) -> list[Pair]:
        return [Pair("    for name", "    if name"), *(self.extra if split == "test" else ())]


def test_the_first_alternative_that_holds_for_all_pairs_is_used(tokenizer):
    words, colon = Answers(" in", ":\n"), Answers("):\n", "\n")
    assert answers_of(FixedTask((words, colon)), tokenizer).answers == words
    assert answers_of(FixedTask((colon, words)), tokenizer).answers == colon
    # Behind `a(` the pattern glues `):\n` to the parenthesis, and `():\n` is one token: in one pair of one split,
    # so the alternative is out.
    glued = (Pair("    for a(", "    if a"),)
    assert answers_of(FixedTask((colon, words), glued), tokenizer).answers == words
    with pytest.raises(Unavailable, match=r"'\):\\n' changes the tokens of the prompt '    for a\('"):
        answers_of(FixedTask((colon,), glued), tokenizer)


def test_an_own_task_keeps_unequal_pairs_and_interchange_refuses_them_by_name(tokenizer):
    unequal = FixedTask((Answers(" in", ":\n"),), (Pair("    for each name", "    if name"),))
    tokens = tokenize(unequal, tokenizer, "test", CONTEXT)
    assert tokens.aligned.tolist() == [True, False]
    message = r"interchange interventions need .* equally many tokens; of task fixed 1 of 2 have not: pair 2"
    with pytest.raises(NotRun, match=message):
        require_aligned(Prompts.of(tokens), "fixed")
    require_aligned(Prompts.of(tokenize(unequal, tokenizer, "train", CONTEXT)), "fixed")


def test_two_answers_that_are_the_same_token_are_none(tokenizer):
    with pytest.raises(Unavailable, match="both answers are ' in'"):
        answers_of(FixedTask((Answers(" in", " in"),)), tokenizer)


def test_the_text_behind_an_answer_decides_how_it_is_split(tokenizer):
    side = Side(["    for name:\n"], tokenizer)
    # Of eight spaces before a word the last one belongs to the word: `       `, ` x`.
    assert isinstance(side.token("       ", " x"), int)
    assert side.token("        ", "x") == "'        ' begins with the token '       '"


def test_a_split_without_pairs_is_refused(tokenizer):
    class Empty(FixedTask):
        def pairs(self, split: Split) -> list[Pair]:
            return super().pairs(split) if split == "train" else []

    with pytest.raises(UserError, match="task fixed has no pairs in its validation split"):
        tokenize(Empty((Answers(" in", ":\n"),)), tokenizer, "train", CONTEXT)


def test_prompts_beyond_the_context_are_refused(tokenizer):
    with pytest.raises(UserError, match=r"class_init has \d+ tokens, more than the model's context of 12"):
        tokenize(load_family("class_init"), tokenizer, "test", 12)
