"""Text that a model writes: tokens drawn one after the other, read back by the model, given out as they come."""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from thinwire.data.tokenizer import Tokenizer
from thinwire.errors import UserError
from thinwire.inference.decoder import Decoder
from thinwire.inference.sampling import Sampling, next_token

Stopped = Literal["max_tokens", "context", "end_of_text"]
"""Why a text ends: so many tokens were asked for; the model reads no more; it drew the end of the text."""


@dataclass(frozen=True)
class Generated:
    """How a prompt goes on."""

    prompt: str
    text: str
    """What follows it. Bytes that are no valid UTF-8 are U+FFFD."""
    tokens: tuple[int, ...]
    """The tokens of `text`, without the end of the text."""
    n_prompt_tokens: int
    stopped: Stopped


class Generation(Iterator[str]):
    """One text that is being written: pieces of it, each as soon as it is known. `result()` writes the rest at once.

    Pieces add up to the `text` of the result; one may be empty, when a token ends inside a character.
    """

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, prompt: str, sampling: Sampling) -> None:
        """Raises `UserError` for a prompt that is empty or longer than the context."""
        self._tokenizer, self._prompt = tokenizer, prompt
        self._decoder, self._ids = decoder, encoded(prompt, tokenizer, decoder.config.context)
        self._steps = draw(decoder, tokenizer, [self._ids], sampling)
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._tokens: list[int] = []
        self._pieces: list[str] = []
        self._stopped: Stopped | None = None

    def warm_up(self) -> None:
        """Read one token to no purpose: kernels are compiled when they are first used, once on a machine."""
        self._decoder.read(self._decoder.start([1]), {0: self._ids[:1]})

    def __next__(self) -> str:
        if self._stopped is not None:
            raise StopIteration
        drawn = next(self._steps)
        if isinstance(drawn.token, int):
            self._tokens.append(drawn.token)
            piece = self._bytes.decode(self._tokenizer.token_bytes(drawn.token))
        else:
            self._stopped = drawn.token
            piece = self._bytes.decode(b"", final=True)
        self._pieces.append(piece)
        return piece

    def result(self) -> Generated:
        """The whole text, once it is written."""
        for _ in self:
            pass
        assert self._stopped is not None
        return Generated(self._prompt, "".join(self._pieces), tuple(self._tokens), len(self._ids), self._stopped)


@dataclass(frozen=True)
class Drawn:
    """What happened to one of several prompts."""

    row: int
    token: int | Stopped
    """The token that goes on with it, or why none does."""


def draw(
    decoder: Decoder, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], sampling: Sampling
) -> Iterator[Drawn]:
    """Tokens that go on with each prompt, all prompts in step, and at last why each one ends.

    Prompts fit the context and are not empty. Each goes on as it would alone.
    """
    context = decoder.config.context
    n_known = min(tokenizer.vocab_size, decoder.config.vocab_size)  # a model may have rows that no token stands for
    cache = decoder.start([min(len(prompt) + sampling.max_tokens - 1, context) for prompt in prompts])
    generators = [sampling.generator() for _ in prompts]
    counts = [0] * len(prompts)
    new = {row: list(prompt) for row, prompt in enumerate(prompts)}
    while new:
        logits = decoder.read(cache, new)[:, :n_known]
        drawn = {row: next_token(logits[i], sampling, generators[row]) for i, row in enumerate(new)}
        new = {}
        for row, token in drawn.items():
            if token == tokenizer.end_of_text:
                yield Drawn(row, "end_of_text")
                continue
            yield Drawn(row, token)
            counts[row] += 1
            if counts[row] == sampling.max_tokens:
                yield Drawn(row, "max_tokens")
            elif len(prompts[row]) + counts[row] > context:
                yield Drawn(row, "context")
            else:
                new[row] = [token]


def generate_each(
    decoder: Decoder, tokenizer: Tokenizer, prompts: Sequence[str], sampling: Sampling
) -> list[Generated]:
    """How each of several prompts goes on: the same as alone, in less time. Raises as `Generation` does."""
    ids = [encoded(prompt, tokenizer, decoder.config.context) for prompt in prompts]
    tokens: list[list[int]] = [[] for _ in prompts]
    stopped: dict[int, Stopped] = {}
    for drawn in draw(decoder, tokenizer, ids, sampling) if prompts else ():
        if isinstance(drawn.token, int):
            tokens[drawn.row].append(drawn.token)
        else:
            stopped[drawn.row] = drawn.token
    return [
        Generated(prompt, tokenizer.decode(tokens[row]), tuple(tokens[row]), len(ids[row]), stopped[row])
        for row, prompt in enumerate(prompts)
    ]


def encoded(prompt: str, tokenizer: Tokenizer, context: int) -> list[int]:
    """Token ids of a prompt as it stands. Raises `UserError` when it is empty, no text, or longer than the context."""
    if not prompt:
        raise UserError("the prompt is empty; write some text to go on from, such as: def f(")
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise UserError("the prompt is no text in UTF-8; write it in another way") from None
    ids = tokenizer.encode(prompt)
    if len(ids) > context:
        raise UserError(f"the prompt has {len(ids)} tokens, the model reads at most {context}; shorten it")
    return ids
