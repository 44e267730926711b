"""Byte-level BPE over Python source, on Hugging Face `tokenizers`.

The split pattern is the one of the released tokenizer `tinypython_2k` (Gao et al. 2025): it glues a newline to the
punctuation before it, so that `:\\n` or `]]\\n` can be single tokens.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from thinwire.errors import CorruptFile, UserError
from thinwire.progress import Progress, silent
from thinwire.storage.files import sha256

END_OF_TEXT = "<|endoftext|>"
SPLIT_PATTERN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
MIN_VOCAB = 257
"""All 256 bytes and the end of text."""
MAX_VOCAB = 65536
"""Token shards are uint16."""
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
    def train(cls, texts: Sequence[str], vocab_size: int, progress: Progress = silent) -> "Tokenizer":
        """Learn a vocabulary of exactly `vocab_size` tokens; the same texts give the same tokenizer.

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
        with progress("learn tokenizer", total=len(texts), unit="document") as advance:
            backend.train_from_iterator(_reported(texts, advance), trainer, length=len(texts))
        tokenizer = cls(backend)
        if tokenizer.vocab_size < vocab_size:
            raise UserError(
                f"the corpus yields only {tokenizer.vocab_size} tokens of the {vocab_size} asked for; "
                f"use a larger corpus or vocab_size {tokenizer.vocab_size} or less"
            )
        return tokenizer

    @classmethod
    def of_bpe(cls, model: models.BPE) -> "Tokenizer":
        """A tokenizer of ready merges over bytes; `model` knows `<|endoftext|>`."""
        backend = _backend(model)
        backend.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
        return cls(backend)

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """Inverse of `to_json`. Raises `CorruptFile` if `text` is no tokenizer."""
        try:
            backend = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # noqa: BLE001 - the binding raises nothing more precise
            raise CorruptFile(f"tokenizer.json cannot be read ({error}); restore it or make it again") from None
        return cls(backend)

    @classmethod
    def load(cls, path: Path, vocab_size: int) -> "Tokenizer":
        """A tokenizer.json, of another run for example. Raises `UserError` if it has not `vocab_size` tokens."""
        try:
            tokenizer = cls.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise UserError(f"{path} cannot be read; point data.tokenizer at the tokenizer.json of a run") from None
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
        return self._backend.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of every text, on all cores."""
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, the end of text included; bytes that are no valid UTF-8 become U+FFFD."""
        return self._backend.decode(list(ids), skip_special_tokens=False)

    def token_text(self, token: int) -> str:
        """What one token stands for; bytes that are no valid UTF-8 are shown as `\\xNN`."""
        text = self._backend.id_to_token(token) if 0 <= token < self.vocab_size else None
        if text is None:
            raise UserError(f"token {token} is not in 0..{self.vocab_size - 1}; was it made by another tokenizer?")
        return bytes(BYTE_OF[character] for character in text).decode("utf-8", "backslashreplace")


def _backend(model: models.BPE) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(model)
    split = pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    backend.decoder = decoders.ByteLevel()
    return backend


def _reported(texts: Iterable[str], advance: Callable[[], None]) -> Iterator[str]:
    for text in texts:
        yield text
        advance()


def _byte_characters() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 bytes stand for themselves, the n-th other byte is U+0100 + n."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


BYTE_OF = _byte_characters()
