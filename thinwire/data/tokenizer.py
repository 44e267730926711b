"""Byte-level BPE over Python source, on Hugging Face `tokenizers`.

The split pattern is the one of the released tokenizer `tinypython_2k` (Gao et al. 2025): it glues a newline to the
punctuation before it, so that `:\\n` or `]]\\n` can be single tokens.
"""

import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tokenizers
from jaxtyping import UInt16
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from thinwire.data.pieces import groups, pieces
from thinwire.data.tokenizer_file import (
    BYTE_OF,
    END_OF_TEXT,
    MAX_CHARACTERS,
    MAX_VOCAB,
    SPLIT_PATTERN,
    check_tokenizer,
    unreadable,
)
from thinwire.errors import UserError
from thinwire.progress import Progress, silent
from thinwire.storage.files import sha256

MIN_VOCAB = 257
"""All 256 bytes and the end of text."""
MIN_PAIR_COUNT = 2
"""A pair seen once is no pattern: without this bound a small corpus is learnt by heart."""


class Tokenizer:
    """Text to token ids and back, exactly: any text survives `decode(encode(text))`.

    Immutable. Ids are below `vocab_size`; `end_of_text` separates documents and is never produced by encoding.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend
        # A literal "<|endoftext|>" in a source file is ordinary text. This switch is not part of the JSON.
        self._backend.encode_special_tokens = True
        end_of_text = backend.token_to_id(END_OF_TEXT)
        if end_of_text is None:
            raise UserError(f"the tokenizer has no token {END_OF_TEXT}; use one that was made by thinwire")
        self.end_of_text: int = end_of_text
        self.vocab_size: int = backend.get_vocab_size()

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, n_texts: int = 0, progress: Progress = silent) -> "Tokenizer":
        """Learn a vocabulary of exactly `vocab_size` tokens; the same texts give the same tokenizer.

        `n_texts` is what `progress` is told.

        Raises `UserError` if `vocab_size` is not in 257..65536, or if the texts have too few repeated pairs for it.
        """
        if not MIN_VOCAB <= vocab_size <= MAX_VOCAB:
            raise UserError(f"vocab_size {vocab_size} is not in {MIN_VOCAB}..{MAX_VOCAB}; 1024 suits a small model")
        backend = _backend(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=MIN_PAIR_COUNT,
            show_progress=False,
            special_tokens=[AddedToken(END_OF_TEXT, special=True, normalized=False)],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        with progress("learn tokenizer", total=n_texts, unit="document") as advance:
            backend.train_from_iterator(_reported(texts, advance), trainer)
        tokenizer = cls(backend)
        if tokenizer.vocab_size < vocab_size:
            raise UserError(
                f"the corpus yields only {tokenizer.vocab_size} tokens of the {vocab_size} asked for; use a larger "
                f"corpus, model.vocab_size {tokenizer.vocab_size} or less, or another run's tokenizer: "
                f"--data.tokenizer RUN/tokenizer.json"
            )
        return tokenizer

    @classmethod
    def of_bpe(cls, model: models.BPE) -> "Tokenizer":
        """A tokenizer of ready merges over bytes; `model` knows `<|endoftext|>`."""
        backend = _backend(model)
        backend.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
        return cls(backend)

    @classmethod
    def from_json(cls, text: str, where: str = "tokenizer.json") -> "Tokenizer":
        """Inverse of `to_json`. Raises `CorruptFile`, naming `where`, if `text` is no tokenizer of this kind."""
        check_tokenizer(text, where)
        try:
            return cls(tokenizers.Tokenizer.from_str(text))
        except Exception as error:  # noqa: BLE001 - the binding raises nothing more precise
            raise unreadable(where, str(error)) from None

    @classmethod
    def load(cls, path: Path, vocab_size: int) -> "Tokenizer":
        """A tokenizer.json, of another run for example. Raises `UserError` if it has not `vocab_size` tokens."""
        tokenizer = cls.from_json(_content(path), str(path))
        if tokenizer.vocab_size != vocab_size:
            raise UserError(
                f"{path} has {tokenizer.vocab_size} tokens and the model {vocab_size}; "
                f"set model.vocab_size to {tokenizer.vocab_size}"
            )
        return tokenizer

    def to_json(self) -> str:
        """The content of `tokenizer.json`, in the format of Hugging Face `tokenizers`."""
        return self._backend.to_str(pretty=True) + "\n"

    @property
    def sha256(self) -> str:
        """Of `to_json()`: names this tokenizer in artefacts."""
        return sha256(self.to_json().encode())

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; a literal `<|endoftext|>` in it is encoded as ordinary text."""
        return [i for piece in pieces(text) for i in self._backend.encode(piece, add_special_tokens=False).ids]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of every text, on all cores; long texts in pieces (`thinwire.data.pieces`)."""
        found: list[list[int]] = [[] for _ in texts]
        for group in groups((row, piece) for row, text in enumerate(texts) for piece in pieces(text)):
            encodings = self._backend.encode_batch_fast([piece for _, piece in group], add_special_tokens=False)
            for (row, _), encoding in zip(group, encodings, strict=True):
                found[row] += encoding.ids
        return found

    def streams(self, texts: Iterable[str]) -> Iterator[UInt16[np.ndarray, " _n"]]:
        """The tokens of texts one after the other, each text followed by the end of text, in arrays of any length.

        Memory does not grow with the texts: about a million characters are encoded at a time.
        """
        parts = ((last, piece) for text in texts for last, piece in _marked(pieces(text)))
        for group in groups(parts):
            encodings = self._backend.encode_batch_fast([piece for _, piece in group], add_special_tokens=False)
            ids = [
                [*encoding.ids, self.end_of_text] if last else encoding.ids
                for (last, _), encoding in zip(group, encodings, strict=True)
            ]
            yield np.concatenate([np.array(part, dtype="<u2") for part in ids])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, the end of text included; bytes that are no valid UTF-8 become U+FFFD."""
        return self._backend.decode(list(ids), skip_special_tokens=False)

    def token_text(self, token: int) -> str:
        """What one token stands for; bytes that are no valid UTF-8 are shown as `\\xNN`."""
        return self.token_bytes(token).decode("utf-8", "backslashreplace")

    def token_bytes(self, token: int) -> bytes:
        """The bytes that one token stands for, which may begin or end inside a character."""
        text = self._backend.id_to_token(token) if 0 <= token < self.vocab_size else None
        if text is None:
            raise UserError(f"token {token} is not in 0..{self.vocab_size - 1}; was it made by another tokenizer?")
        return bytes(BYTE_OF[character] for character in text)


def _backend(model: models.BPE) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(model)
    split = pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    backend.decoder = decoders.ByteLevel()
    return backend


def _reported(texts: Iterable[str], advance: Callable[[], None]) -> Iterator[str]:
    for text in texts:
        yield from pieces(text)
        advance()


def _marked(parts: Iterator[str]) -> Iterator[tuple[bool, str]]:
    """Each part, with whether it is the last one."""
    part = next(parts)
    for following in parts:
        yield False, part
        part = following
    yield True, part


def _content(path: Path) -> str:
    """Text of an ordinary file that is no larger than a tokenizer can be."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise unreadable(path, "it is no ordinary file")
        if state.st_size > 4 * MAX_CHARACTERS:
            raise unreadable(path, f"it has {state.st_size} bytes, more than any tokenizer")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise unreadable(path, "it is no UTF-8") from None
