"""Prompts as token ids: what a model is run on, and what a circuit stores so that it can be judged again."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from thinwire.errors import CorruptFile, UserError
from thinwire.tasks.answers import AnswerTokens, Encoder, choose_for_sides, pairs_of, sides
from thinwire.tasks.task import SPLITS, Split, Task

Rows = list[list[int]]


@dataclass(frozen=True)
class TaskTokens:
    """The N pairs of one split of a task as token ids.

    Rows are padded on the right with the end of text. Attention is causal and no position is embedded, so the padding
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

    Raises `Unavailable` if the tokenizer lacks the answers, `UserError` if a prompt is longer than `context` or a split
    has no pairs.
    """
    return tokenize_splits(task, tokenizer, context)[split]


def tokenize_splits(task: Task, tokenizer: Encoder, context: int) -> dict[Split, TaskTokens]:
    """`tokenize` for all splits at the cost of one: the answers must hold on all of them anyway."""
    pairs = {split: pairs_of(task, split) for split in SPLITS}
    clean, corrupt = sides([pair for split in SPLITS for pair in pairs[split]], tokenizer)
    chosen = choose_for_sides(task, clean, corrupt)
    longest = max(map(len, clean.ids + corrupt.ids))
    if longest > context:
        raise UserError(
            f"a prompt of task {task.name} has {longest} tokens, more than the model's context of {context}; "
            f"use shorter prompts or a model with a longer context"
        )
    splits, start = {}, 0
    for split in SPLITS:
        part = slice(start, start := start + len(pairs[split]))
        splits[split] = _task_tokens(clean.ids[part], corrupt.ids[part], chosen, tokenizer.end_of_text)
    return splits


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


def to_arrays(tokens: TaskTokens) -> dict[str, np.ndarray]:
    """Everything about `tokens` as arrays that safetensors can store: int64, and uint8 for the answers' UTF-8 texts."""
    arrays = {name: getattr(tokens, name) for name in _ROWS}
    arrays["answers"] = np.array([tokens.answer, tokens.other])
    for name, text in zip(("answer_text", "other_text"), tokens.answer_texts, strict=True):
        arrays[name] = np.frombuffer(text.encode(), dtype=np.uint8)
    return arrays


def from_arrays(arrays: Mapping[str, np.ndarray]) -> TaskTokens:
    """Inverse of `to_arrays`. Raises `CorruptFile` if an array is missing."""
    expected = {*_ROWS, "answers", "answer_text", "other_text"}
    if missing := sorted(expected - arrays.keys()):
        raise CorruptFile(f"the stored pairs lack {', '.join(missing)}; prune again")
    answer, other = (int(token) for token in arrays["answers"])
    texts = (arrays["answer_text"].tobytes().decode(), arrays["other_text"].tobytes().decode())
    rows = {name: np.asarray(arrays[name]) for name in _ROWS}
    return TaskTokens(**rows, answer=answer, other=other, answer_texts=texts)


def _padded(rows: Rows, width: int, padding: int) -> Int64[np.ndarray, "N T"]:
    out = np.full((len(rows), width), padding, dtype=np.int64)
    for row, ids in zip(out, rows, strict=True):
        row[: len(ids)] = ids
    return out
