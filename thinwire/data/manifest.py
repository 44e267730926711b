"""The content of corpus.json: where the text came from, what was left out of it, and every file by its checksum."""

from typing import Any

from thinwire.data.corpus import SPLITS, Corpus, CorpusSplit
from thinwire.data.stream import Stream


def manifest(stream: Stream, n_tokens: dict[CorpusSplit, list[int]]) -> dict[str, Any]:
    """`n_tokens`: of each source, by split.

    Counts of the whole are those of its sources together: `n_files` documents, `n_bytes` of UTF-8 (copies included),
    `n_skipped` binary or empty, `n_duplicates` equal to one before, `n_links` that led out of the folder.
    """
    corpus = stream.corpus
    parts = [_part(stream, number, n_tokens) for number in range(len(corpus.sources))]
    splits = {
        split: {key: sum(part["splits"][split][key] for part in parts) for key in ("n_files", "n_bytes", "n_tokens")}
        for split in SPLITS
    }
    return {
        "source_kind": parts[0]["kind"] if len(parts) == 1 else "several",
        "source": ", ".join(_written(part) for part in parts),
        "python_version": next((part["versions"]["python"] for part in parts if "python" in part["versions"]), None),
        "n_files": sum(counts["n_files"] for counts in splits.values()),
        "n_bytes": sum(counts["n_bytes"] for counts in splits.values()),
        **{key: sum(part[key] for part in parts) for key in ("n_skipped", "n_duplicates", "n_links")},
        "sha256": corpus.sha256,
        "splits": splits,
        "sources": parts,
        "files": _files(corpus),
    }


def heldout_in_training(manifest: dict[str, Any]) -> float | None:
    """Share of 32-token windows of the held-out text that stand in training text; None where nobody measured it."""
    return manifest.get("heldout_overlap", {}).get("share")


def _part(stream: Stream, number: int, n_tokens: dict[CorpusSplit, list[int]]) -> dict[str, Any]:
    source, left = stream.corpus.sources[number], stream.corpus.left[number]
    return {
        "source": source.name,
        "kind": source.kind,
        "share": source.part.share,
        "versions": source.versions,
        "n_skipped": left.skipped,
        "n_duplicates": left.duplicates,
        "n_links": source.files.n_links,
        "splits": {split: {**stream.counts(number, split), "n_tokens": n_tokens[split][number]} for split in SPLITS},
    }


def _written(part: dict[str, Any]) -> str:
    return part["source"] if part["share"] is None else f"{part['source']}={part['share']:g}"


def _files(corpus: Corpus) -> list[dict[str, Any]]:
    """Every document by its checksum; of records, which may be too many, every file by its size."""
    listed: list[dict[str, Any]] = []
    for source in corpus.sources:
        if source.is_streamed:
            listed += [{"name": name, "n_bytes": path.stat().st_size} for name, path in source.files.paths.items()]
    return listed + [
        {"name": corpus.name_of(d), "sha256": d.sha256.hex(), "split": d.split}
        for d in corpus.documents
        if not corpus.sources[d.source].is_streamed
    ]
