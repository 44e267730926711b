"""What a corpus holds, before a model is trained on it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from thinwire.data.config import DataConfig
from thinwire.data.corpus import SPLITS, Corpus, read_corpus
from thinwire.data.stream import Stream
from thinwire.progress import Progress, silent
from thinwire.tasks.contexts import Places, count_contexts

MEGABYTE = 1_000_000
ALL = "all"
"""Source of the rows that take all sources together."""


@dataclass(frozen=True)
class Inspected:
    """What `thinwire data inspect` finds."""

    sources: list[dict[str, Any]]
    """What each source holds, in documents and bytes; what was left out of it; what it gives to each split."""
    tasks: list[dict[str, Any]]
    """For each task and source, per MB of training text: places that look like the task's clean and like its corrupt
    side and go on with the right answer, and those that go on with the wrong one. Rows of `all` weigh the sources by
    what they give to the training text."""


def inspect(config: DataConfig, progress: Progress = silent) -> Inspected:
    """Measure the training text of every source of `config`: size, and how much of each task it shows.

    Raises `UserError` as `read_corpus` does.
    """
    corpus = read_corpus(config, progress)
    stream = Stream(corpus, config)
    rates: dict[str, dict[str, dict[str, float]]] = {}
    with progress(
        "count contexts", total=sum(d.split == "train" for d in corpus.documents), unit="document"
    ) as advance:
        for number, source in enumerate(corpus.sources):
            counted = count_contexts(_training_texts(corpus, number, advance))
            n_bytes = sum(d.n_bytes for d in corpus.documents if d.source == number and d.split == "train")
            rates[source.name] = {task: _per_megabyte(both, n_bytes) for task, both in counted.items()}
    sources = [_source(stream, number) for number in range(len(corpus.sources))]
    if len(sources) > 1:
        rates[ALL] = _weighed(rates, {row["source"]: row["train_bytes"] for row in sources})
    tasks = list(next(iter(rates.values())))
    rows = [{"task": task, "source": name, **own[task]} for task in tasks for name, own in rates.items()]
    return Inspected(sources, rows)


def _training_texts(corpus: Corpus, number: int, advance: Callable[[], None]) -> Iterator[str]:
    wanted = [d for d in corpus.documents if d.source == number and d.split == "train"]
    for _, text in corpus.read(number, wanted):
        yield text
        advance()


def _source(stream: Stream, number: int) -> dict[str, Any]:
    source, left = stream.corpus.sources[number], stream.corpus.left[number]
    own = [d for d in stream.corpus.documents if d.source == number]
    return {
        "source": source.name,
        "share": source.part.share,
        "n_documents": len(own),
        "n_bytes": sum(d.n_bytes for d in own),
        **{f"{split}_bytes": stream.counts(number, split)["n_bytes"] for split in SPLITS},
        **asdict(left),
        "links": source.files.n_links,
    }


def _per_megabyte(both: tuple[Places, Places], n_bytes: int) -> dict[str, float]:
    per = MEGABYTE / max(n_bytes, 1)
    clean, corrupt = both
    return {
        "clean": clean.right * per,
        "clean_wrong": clean.wrong * per,
        "corrupt": corrupt.right * per,
        "corrupt_wrong": corrupt.wrong * per,
    }


def _weighed(rates: dict[str, dict[str, dict[str, float]]], n_bytes: dict[str, int]) -> dict[str, dict[str, float]]:
    """Rates of the sources together, each by its bytes."""
    whole = sum(n_bytes.values())
    names = list(rates)
    return {
        task: {key: sum(rates[name][task][key] * n_bytes[name] for name in names) / whole for key in found}
        for task, found in rates[names[0]].items()
    }
