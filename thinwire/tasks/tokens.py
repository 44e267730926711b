"""Prompts as token ids: what a model is run on, and what a circuit stores so that it can be judged again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64

from thinwire.errors import CorruptFile
from thinwire.tasks.alignment import aligned_rows, kept_sides
from thinwire.tasks.answers import AnswerTokens, Encoder, Side, Unavailable, choose_answers, sides
from thinwire.tasks.shifts import shifted_pairs
from thinwire.tasks.task import SPLITS, Split, Task

MIN_SHIFTED = 32
"""64 prompts give an accuracy a standard error below 6.3 %."""

Rows = list[list[int]]


@dataclass(frozen=True)
class TaskTokens:
    """The N pairs of one split of a task as token ids.

    Rows are padded on the right with the end of text. Attention is causal, so the padding
    changes nothing before it: the logits to read stand at `length - 1`.
    """

    clean: Int64[np.ndarray, "N T"]
    corrupt: Int64[np.ndarray, "N T"]
    clean_length: Int64[np.ndarray, " N"]
    """Tokens before the padding."""
    corrupt_length: Int64[np.ndarray, " N"]
    answer: int
    """Token id that continues every clean prompt."""
    other: int
    """Token id that continues every corrupt prompt."""
    answer_texts: tuple[str, str]
    """Texts of (answer, other)."""

    @property
    def aligned(self) -> Bool[np.ndarray, " N"]:
        """Whether the two sides of a pair have equal lengths, as interchange interventions need."""
        return self.clean_length == self.corrupt_length

    def __len__(self) -> int:
        return len(self.clean)


def tokenize(task: Task, tokenizer: Encoder, split: Split, context: int) -> TaskTokens:
    """The pairs of `split` in their order; T is the longest prompt's length, at most `context` tokens.

    Of a built-in task only pairs whose sides are equally long are kept; own tasks keep all.
    Raises `Unavailable` if the tokenizer lacks the answers or leaves too few such pairs, or a prompt is longer than
    `context`; `UserError` if a split has no pairs.
    """
    return tokenize_splits(task, tokenizer, context)[split]


def tokenize_splits(task: Task, tokenizer: Encoder, context: int) -> dict[Split, TaskTokens]:
    """`tokenize` for all splits at the cost of one: the answers must hold on all of them anyway."""
    parts: dict[Split, tuple[Side, Side]] = {split: kept_sides(task, split, tokenizer) for split in SPLITS}
    chosen = _chosen(task, parts)
    for side in (side for part in parts.values() for side in part):
        row = max(range(len(side.ids)), key=lambda row: len(side.ids[row]))
        if len(side.ids[row]) > context:
            raise Unavailable(
                f"a prompt of task {task.name} has {len(side.ids[row])} tokens, more than the model's context of "
                f"{context}: {side.named(row)}; use shorter prompts or a model with a longer context"
            )
    splits: dict[Split, TaskTokens] = {}
    for split, (clean, corrupt) in parts.items():
        splits[split] = _task_tokens(clean.ids, corrupt.ids, chosen, tokenizer.end_of_text)
    return splits


def tokenize_shift(
    task: Task, shift: str, tokenizer: Encoder, like: TaskTokens, context: int, split: Split = "test"
) -> TaskTokens:
    """The pairs of `shifted_pairs(task, shift, split)`, with the answers of `like`, any split of the task's pairs.

    Left out are pairs that do not fit into `context` tokens, whose sides are not equally long, or behind which the
    answers are not the same two tokens. Raises `Unavailable` if fewer than `MIN_SHIFTED` are left or `like` has answers
    that the task does not know, and as `shifted_pairs` does.
    """
    found = shifted_pairs(task, shift, split)
    chosen = _same_answers(task, like)
    clean, corrupt = sides(found, tokenizer)
    answers = clean.tokens(chosen.answers.answer, chosen.answers.answer_rest)
    others = corrupt.tokens(chosen.answers.other, chosen.answers.other_rest)
    rows = [
        row
        for row in aligned_rows(clean, corrupt)
        if len(clean.ids[row]) <= context and (answers[row], others[row]) == (chosen.answer, chosen.other)
    ]
    if len(rows) < MIN_SHIFTED:
        raise Unavailable(
            f"of the {len(found)} pairs of task {task.name} under the shift {shift} only {len(rows)} are aligned, keep "
            f"its answers and fit into {context} tokens; use a model with a longer context or a larger vocab_size"
        )
    return _task_tokens(clean.only(rows).ids, corrupt.only(rows).ids, chosen, tokenizer.end_of_text)


def widened(
    task: Task, pairs: Mapping[Split, TaskTokens], scope: Sequence[str], tokenizer: Encoder, context: int
) -> dict[Split, TaskTokens]:
    """`pairs` with the shifts of `scope` among those of train and validation; test pairs stay the task's own.

    Raises as `tokenize_shift` does.
    """
    found = dict(pairs)
    for shift in scope:
        for split in ("train", "validation"):
            more = tokenize_shift(task, shift, tokenizer, pairs[split], context, split)
            found[split] = _joined(found[split], more, tokenizer.end_of_text)
    return found


def _joined(first: TaskTokens, second: TaskTokens, padding: int) -> TaskTokens:
    width = max(first.clean.shape[1], second.clean.shape[1])

    def both(name: str) -> np.ndarray:
        sides = (getattr(first, name), getattr(second, name))
        if sides[0].ndim == 1:
            return np.concatenate(sides)
        return np.concatenate(
            [np.pad(side, ((0, 0), (0, width - side.shape[1])), constant_values=padding) for side in sides]
        )

    return replace(first, **{name: both(name) for name in _ROWS})


def _chosen(task: Task, parts: Mapping[Split, tuple[Side, Side]]) -> AnswerTokens:
    """The answers that hold in all splits."""
    clean, corrupt = zip(*parts.values(), strict=True)
    return choose_answers(task, Side.joined(clean), Side.joined(corrupt))


def _same_answers(task: Task, like: TaskTokens) -> AnswerTokens:
    """The alternative of `task` that gave `like` its answers."""
    for answers in task.alternatives:
        if (answers.answer, answers.other) == like.answer_texts:
            return AnswerTokens(answers, like.answer, like.other)
    raise Unavailable(f"the stored pairs of task {task.name} have other answers than it has now; prune again")


def _task_tokens(clean: Rows, corrupt: Rows, chosen: AnswerTokens, padding: int) -> TaskTokens:
    width = max(map(len, clean + corrupt))
    return TaskTokens(
        clean=_padded(clean, width, padding),
        corrupt=_padded(corrupt, width, padding),
        clean_length=np.array([len(ids) for ids in clean]),
        corrupt_length=np.array([len(ids) for ids in corrupt]),
        answer=chosen.answer,
        other=chosen.other,
        answer_texts=(chosen.answers.answer, chosen.answers.other),
    )


_ROWS = ("clean", "corrupt", "clean_length", "corrupt_length")
_TEXTS = ("answer_text", "other_text")
_INTEGERS = (np.int16, np.int32, np.int64)


def to_arrays(tokens: TaskTokens) -> dict[str, np.ndarray]:
    """Everything about `tokens` as arrays that safetensors can store: integers, as short as hold them, uint8 for the
    answers' UTF-8 texts."""
    arrays = {name: _shortest(getattr(tokens, name)) for name in _ROWS}
    arrays["answers"] = np.array([tokens.answer, tokens.other])
    for name, text in zip(_TEXTS, tokens.answer_texts, strict=True):
        arrays[name] = np.frombuffer(text.encode(), dtype=np.uint8)
    return arrays


def _shortest(whole: np.ndarray) -> np.ndarray:
    """The same numbers in two bytes each, else four, else eight."""
    return next(short for kind in _INTEGERS if np.array_equal(short := whole.astype(kind), whole))


def from_arrays(arrays: Mapping[str, np.ndarray], where: str = "the stored pairs") -> TaskTokens:
    """Inverse of `to_arrays`. Raises `CorruptFile` naming `where` if an array is missing or impossible."""
    expected = {*_ROWS, "answers", *_TEXTS}
    if missing := sorted(expected - arrays.keys()):
        raise CorruptFile(f"{where}: lacks {', '.join(missing)}; prune again")
    for problem in _problems(arrays, expected):
        raise CorruptFile(f"{where}: {problem}; prune again")
    answer, other = (int(token) for token in arrays["answers"])
    texts = (arrays["answer_text"].tobytes().decode(), arrays["other_text"].tobytes().decode())
    rows = {name: np.asarray(arrays[name], np.int64) for name in _ROWS}
    return TaskTokens(**rows, answer=answer, other=other, answer_texts=texts)


def _problems(arrays: Mapping[str, np.ndarray], expected: set[str]) -> Iterator[str]:
    """What no pairs that were ever written have, whatever the vocabulary; the first is the one to believe."""
    n_pairs, width = arrays["clean"].shape if arrays["clean"].ndim == 2 else (0, 0)
    shapes = {"clean": (n_pairs, width), "corrupt": (n_pairs, width), "answers": (2,)}
    shapes |= {"clean_length": (n_pairs,), "corrupt_length": (n_pairs,)}
    yield from (f"{name} has no place in it" for name in sorted(arrays.keys() - expected))
    yield from (f"{name} holds no integers" for name in shapes if arrays[name].dtype not in _INTEGERS)
    yield from (f"{name} is not uint8" for name in _TEXTS if arrays[name].dtype != np.uint8)
    yield from (f"{name} has shape {arrays[name].shape}" for name in _TEXTS if arrays[name].ndim != 1)
    if not n_pairs or not width:
        yield "clean holds no prompts"
    yield from (
        f"{name} has shape {arrays[name].shape}" for name, shape in shapes.items() if arrays[name].shape != shape
    )
    for side in ("clean", "corrupt"):
        if arrays[side].min() < 0:
            yield f"{side} holds a negative token"
        if not 1 <= arrays[f"{side}_length"].min() <= arrays[f"{side}_length"].max() <= width:
            yield f"{side}_length is not in 1..{width}"
    if arrays["answers"].min() < 0 or arrays["answers"][0] == arrays["answers"][1]:
        yield "answers are not two tokens"
    if arrays["answer_text"].tobytes() == arrays["other_text"].tobytes():
        yield "the two answers have the same text"
    yield from (f"{name} is no text" for name in _TEXTS if not _is_text(arrays[name].tobytes()))


def _is_text(content: bytes) -> bool:
    try:
        return bool(content.decode())
    except UnicodeDecodeError:
        return False


def _padded(rows: Rows, width: int, padding: int) -> Int64[np.ndarray, "N T"]:
    out = np.full((len(rows), width), padding, dtype=np.int64)
    for row, ids in zip(out, rows, strict=True):
        row[: len(ids)] = ids
    return out
