"""Which two tokens answer a task: they follow the tokenizer, not the other way round.

An alternative holds if, behind every prompt of every split, the tokenizer turns the answer's text into one token of
exactly that text and leaves the prompt's own tokens as they were. The first alternative that holds is used.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from thinwire.errors import UserError
from thinwire.tasks.task import Answers, Pair, Split, Task

PREFIX = "\n"
"""Stands before every prompt, which thus begins a line, as nearly all code does. Training windows begin anywhere, so
a prompt needs no more context than that. `<|endoftext|>` would say that a file begins: the model has seen it once per
file, and files begin with docstrings and imports."""


@runtime_checkable
class Encoder(Protocol):
    """What this stage needs of `thinwire.data.tokenizer.Tokenizer`."""

    @property
    def end_of_text(self) -> int: ...

    @property
    def vocab_size(self) -> int: ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...

    def token_text(self, token: int) -> str: ...


class Unavailable(UserError):
    """This model cannot be asked a task, though task and files are as they should be.

    Its tokenizer does not give the task two answers of one token each, too few of the task's pairs have sides of equal
    length, its context is too short, or stored pairs have other answers than the task has now. What is damaged or
    missing is another `UserError`: a check that leaves out what is unavailable must not leave that out too.
    """


@dataclass(frozen=True)
class AnswerTokens:
    """The answers that one tokenizer gives a task."""

    answers: Answers
    answer: int
    """Token id of `answers.answer`, which continues clean prompts."""
    other: int
    """Token id of `answers.other`, which continues corrupt prompts."""


class Side:
    """The clean or the corrupt prompts of a task, tokenized once."""

    def __init__(self, prompts: Sequence[str], tokenizer: Encoder, places: Sequence[str] | None = None) -> None:
        self.prompts = prompts
        self.places = places or [""] * len(prompts)
        """Where each prompt was written, for messages."""
        self.tokenizer = tokenizer
        self.ids = tokenizer.encode_batch([PREFIX + prompt for prompt in prompts])
        """Token ids of every prompt, behind the prefix."""

    def only(self, rows: Sequence[int]) -> "Side":
        """The same side with only the prompts of `rows`; nothing is tokenized again."""
        part = copy(self)
        part.prompts, part.ids = [self.prompts[row] for row in rows], [self.ids[row] for row in rows]
        part.places = [self.places[row] for row in rows]
        return part

    @classmethod
    def joined(cls, parts: Sequence["Side"]) -> "Side":
        """All prompts of `parts`, at least one, in their order; nothing is tokenized again."""
        whole = copy(parts[0])
        whole.prompts = [prompt for part in parts for prompt in part.prompts]
        whole.ids = [ids for part in parts for ids in part.ids]
        whole.places = [place for part in parts for place in part.places]
        return whole

    def token(self, text: str, rest: str) -> int | str:
        """The one token that `text` is behind every prompt when `rest` follows, or why there is none."""
        first = self.only([0]).tokens(text, rest)[0]  # most alternatives that fail do so at once
        if isinstance(first, str):
            return first
        return next((found for found in self.tokens(text, rest) if isinstance(found, str)), first)

    def tokens(self, text: str, rest: str) -> list[int | str]:
        """For every prompt the one token that `text` is behind it when `rest` follows, or why there is none.

        The token is the same wherever there is one: no two tokens have the same text.
        """
        continued = self.tokenizer.encode_batch([PREFIX + prompt + text + rest for prompt in self.prompts])
        return [self._token(row, after, text) for row, after in enumerate(continued)]

    def named(self, row: int) -> str:
        """A prompt as messages name it: its text, and where it was written if that is known."""
        return repr(self.prompts[row]) + (f" ({self.places[row]})" if self.places[row] else "")

    def _token(self, row: int, after: list[int], text: str) -> int | str:
        n = len(self.ids[row])
        if after[:n] != self.ids[row] or len(after) == n:
            return f"{text!r} changes the tokens of the prompt {self.named(row)}"
        produced = self.tokenizer.token_text(after[n])
        return after[n] if produced == text else f"{text!r} begins with the token {produced!r}"


def pairs_of(task: Task, split: Split) -> list[Pair]:
    """`task.pairs(split)`, which a task of one's own may have left empty: then a `UserError`."""
    pairs = task.pairs(split)
    if not pairs:
        raise UserError(f"task {task.name} has no pairs in its {split} split; give it some")
    return pairs


def sides(pairs: Sequence[Pair], tokenizer: Encoder) -> tuple[Side, Side]:
    """The clean and the corrupt prompts of `pairs`, in their order."""
    clean, corrupt = [pair.clean for pair in pairs], [pair.corrupt for pair in pairs]
    places = [pair.place for pair in pairs]
    return Side(clean, tokenizer, places), Side(corrupt, tokenizer, places)


def choose_answers(task: Task, clean: Side, corrupt: Side) -> AnswerTokens:
    """The first of `task.alternatives` that holds behind all prompts of both sides.

    Raises `Unavailable`, with the reasons of all alternatives, if none does.
    """
    reasons: dict[str, None] = {}
    for answers in task.alternatives:
        answer = clean.token(answers.answer, answers.answer_rest)
        other = corrupt.token(answers.other, answers.other_rest)
        if isinstance(answer, int) and isinstance(other, int) and answer != other:
            return AnswerTokens(answers, answer, other)
        if answer == other:
            reasons[f"both answers are {answers.answer!r}"] = None
        reasons.update(dict.fromkeys(reason for reason in (answer, other) if isinstance(reason, str)))
    raise Unavailable(
        f"task {task.name} is unavailable with this tokenizer of {clean.tokenizer.vocab_size} tokens: "
        f"{'; '.join(reasons)}; train with a larger model.vocab_size, with the tokenizer of a run that has the task "
        f"(--data.tokenizer RUN/tokenizer.json), or give the task other answers"
    )
