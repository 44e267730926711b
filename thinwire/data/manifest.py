"""The content of corpus.json: where the text came from, what was left out of it, and every file by its checksum."""

from collections.abc import Iterator
from dataclasses import dataclass

from thinwire.data.corpus import SPLITS, Corpus, CorpusSplit
from thinwire.data.stream import Stream
from thinwire.storage.records import Count, Positive, Sha256, Share, Text


@dataclass(frozen=True)
class SplitCounts:
    """What one split holds."""

    n_files: Count
    n_bytes: Count
    """Of UTF-8, copies included."""
    n_tokens: Count | None = None
    """None in manifests of older versions."""


@dataclass(frozen=True)
class SourcePart:
    """What one source gives."""

    source: Text
    kind: Text
    share: Share | None
    """Of the text; None where sources are taken whole."""
    versions: dict[Text, Text]
    n_skipped: Count
    n_duplicates: Count
    n_links: Count
    splits: dict[CorpusSplit, SplitCounts]


@dataclass(frozen=True)
class CorpusFile:
    """One document by its checksum, or one file of records by its size."""

    name: Text
    sha256: Sha256 | None = None
    split: CorpusSplit | None = None
    n_bytes: Count | None = None


@dataclass(frozen=True)
class HeldoutOverlap:
    """How much of the held-out text stands in training text, by runs of `window` tokens."""

    window: Positive
    n_windows: Count
    share: Share
    """Of the windows."""
    n_dropped_tokens: Count = 0
    share_before: Share | None = None
    """Before tokens were dropped; None where nothing had to be."""


@dataclass(frozen=True)
class CorpusManifest:
    """A corpus by what it is made of. Counts are those of its sources together."""

    source_kind: Text
    source: Text
    python_version: Text | None
    n_files: Count
    n_bytes: Count
    """Of UTF-8, copies included."""
    n_skipped: Count
    """Binary or empty files."""
    n_duplicates: Count
    """Files equal to one before."""
    sha256: Sha256
    """Of all names and contents."""
    splits: dict[CorpusSplit, SplitCounts]
    files: tuple[CorpusFile, ...]
    n_links: Count = 0
    """Links that led out of a folder."""
    sources: tuple[SourcePart, ...] = ()
    """Empty in manifests of older versions."""
    heldout_overlap: HeldoutOverlap | None = None
    """None where nobody measured it."""

    @property
    def heldout_in_training(self) -> float | None:
        """Share of windows of the held-out text that stand in training text; None where nobody measured it."""
        return self.heldout_overlap.share if self.heldout_overlap else None


def manifest(
    stream: Stream, n_tokens: dict[CorpusSplit, list[int]], overlap: HeldoutOverlap | None = None
) -> CorpusManifest:
    """The manifest of a corpus that was tokenised. `n_tokens`: of each source, by split."""
    corpus = stream.corpus
    parts = tuple(_part(stream, number, n_tokens) for number in range(len(corpus.sources)))
    splits: dict[CorpusSplit, SplitCounts] = {s: _together([part.splits[s] for part in parts]) for s in SPLITS}
    return CorpusManifest(
        source_kind=parts[0].kind if len(parts) == 1 else "several",
        source=", ".join(map(_written, parts)),
        python_version=next((part.versions["python"] for part in parts if "python" in part.versions), None),
        n_files=sum(counts.n_files for counts in splits.values()),
        n_bytes=sum(counts.n_bytes for counts in splits.values()),
        n_skipped=sum(part.n_skipped for part in parts),
        n_duplicates=sum(part.n_duplicates for part in parts),
        n_links=sum(part.n_links for part in parts),
        sha256=corpus.sha256,
        splits=splits,
        sources=parts,
        files=tuple(_files(corpus)),
        heldout_overlap=overlap,
    )


def _part(stream: Stream, number: int, n_tokens: dict[CorpusSplit, list[int]]) -> SourcePart:
    source, left = stream.corpus.sources[number], stream.corpus.left[number]
    return SourcePart(
        source=source.name,
        kind=source.kind,
        share=source.part.share,
        versions=source.versions,
        n_skipped=left.skipped,
        n_duplicates=left.duplicates,
        n_links=source.files.n_links,
        splits={s: SplitCounts(**stream.counts(number, s), n_tokens=n_tokens[s][number]) for s in SPLITS},
    )


def _together(counts: list[SplitCounts]) -> SplitCounts:
    return SplitCounts(
        sum(c.n_files for c in counts), sum(c.n_bytes for c in counts), sum(c.n_tokens or 0 for c in counts)
    )


def _written(part: SourcePart) -> str:
    return part.source if part.share is None else f"{part.source}={part.share:g}"


def _files(corpus: Corpus) -> Iterator[CorpusFile]:
    """Every document by its checksum; of records, which may be too many, every file by its size."""
    for source in corpus.sources:
        if source.is_streamed:
            yield from (CorpusFile(name, n_bytes=p.stat().st_size) for name, p in source.files.paths.items())
    for d in corpus.documents:
        if not corpus.sources[d.source].is_streamed:
            yield CorpusFile(corpus.name_of(d), d.sha256.hex(), d.split)
