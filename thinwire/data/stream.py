"""The documents of a corpus in the order in which they become tokens.

Those of a single source stand in the order of their names, each once. Several sources take turns
(`thinwire.data.shares`); the files of each then come in the order of a hash of their names, so that any stretch is a
sample of the source. Records and data sets keep their own order. Held-out text has the same shares as training text,
and nothing in it is repeated.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

from thinwire.data.config import DataConfig
from thinwire.data.corpus import SPLITS, Corpus, CorpusSplit, Document, place
from thinwire.data.shares import copies_of, in_turns

Visit = tuple[Document, int, str]
"""A document, how often it stood in the text before, and its text."""


class Stream:
    """What training and held-out tokens are made of. Visits read every text that is used."""

    def __init__(self, corpus: Corpus, config: DataConfig) -> None:
        self.corpus = corpus
        self.config = config
        self._several = len(corpus.sources) > 1

    def visits(self, splits: Sequence[CorpusSplit] = SPLITS) -> Iterator[Visit]:
        """All visits of `splits`; reading fails as `Corpus.read` does."""
        if not self._several:
            yield from (visit for _, visit in self._visits(0, splits))
            return
        for split in splits:  # each by itself, so that sources take turns in both
            visits = [self._visits(number, (split,)) for number in range(len(self.corpus.sources))]
            totals = [self.counts(number, split)["n_bytes"] for number in range(len(self.corpus.sources))]
            yield from in_turns(visits, totals)

    def __len__(self) -> int:
        return sum(self.copies.values())

    @cached_property
    def copies(self) -> dict[Document, int]:
        """How often each document stands in the text; 0 for those that shares leave out."""
        shares = [source.part.share for source in self.corpus.sources]
        if any(share is None for share in shares):
            return dict.fromkeys(self.corpus.documents, 1)
        found: dict[Document, int] = {}
        for split in SPLITS:
            own = [[d for d in documents if d.split == split] for documents in self._ordered]
            sizes = [[d.n_bytes for d in documents] for documents in own]
            times = copies_of(sizes, [share or 0 for share in shares], self.config.copies if split == "train" else 1)
            for documents, copies in zip(own, times, strict=True):
                found |= dict(zip(documents, copies, strict=True))
        return found

    def counts(self, number: int, split: CorpusSplit) -> dict[str, int]:
        """What one source gives to a split: documents, and their bytes, those of copies included."""
        used = [d for d in self._ordered[number] if d.split == split and self.copies[d]]
        return {"n_files": len(used), "n_bytes": sum(self.copies[d] * d.n_bytes for d in used)}

    @cached_property
    def _ordered(self) -> list[list[Document]]:
        """The documents of each source in the order of their visits."""
        ordered: list[list[Document]] = [[] for _ in self.corpus.sources]
        for document in self.corpus.documents:
            ordered[document.source].append(document)
        for source, documents in zip(self.corpus.sources, ordered, strict=True):
            if self._several and not source.is_streamed:
                documents.sort(key=lambda d: place(f"{d.name}\n"))  # not the place that decides what is held out
        return ordered

    def _visits(self, number: int, splits: Sequence[CorpusSplit]) -> Iterator[tuple[int, Visit]]:
        documents = [d for d in self._ordered[number] if d.split in splits]
        for copy in range(max((self.copies[d] for d in documents), default=0)):
            wanted = [d for d in documents if self.copies[d] > copy]
            for document, text in self.corpus.read(number, wanted):
                yield document.n_bytes, (document, copy, text)
