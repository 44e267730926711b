"""Texts as a file of tokens, little-endian uint16, each text followed by the end of text."""

from typing import BinaryIO

import numpy as np

from thinwire.data.pieces import AT_ONCE
from thinwire.data.tokenizer import Tokenizer


class TokenFile:
    """Takes texts and writes their tokens in batches; counts what each source gave. Call `flush` at the end."""

    def __init__(self, file: BinaryIO, tokenizer: Tokenizer, n_sources: int) -> None:
        self.n_tokens = [0] * n_sources
        """Tokens written so far, by source, the ends of texts included."""
        self._file = file
        self._tokenizer = tokenizer
        self._texts: list[str] = []
        self._sources: list[int] = []

    def add(self, text: str, source: int) -> None:
        self._texts.append(text)
        self._sources.append(source)
        if sum(map(len, self._texts)) >= AT_ONCE:
            self.flush()

    def flush(self) -> None:
        begun, texts = 0, iter(self._sources)
        for tokens in self._tokenizer.streams(self._texts):
            self._file.write(tokens.tobytes())
            ends = np.flatnonzero(tokens == self._tokenizer.end_of_text) + 1
            lengths = np.diff(ends, prepend=0)
            for length in lengths.tolist():
                self.n_tokens[next(texts)] += begun + length
                begun = 0
            begun += len(tokens) - int(lengths.sum())
        self._texts, self._sources = [], []
