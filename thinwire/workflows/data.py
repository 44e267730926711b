"""What a corpus holds, before a model is trained on it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple

from thinwire.data.config import DataConfig
from thinwire.data.corpus import SPLITS, Corpus, read_corpus
from thinwire.data.stream import Stream
from thinwire.progress import Progress, silent
from thinwire.tasks.contexts import Places, count_contexts

MEGABYTE = 1_000_000
ALL = "all"
"""Source of the rows that take all sources together."""


@dataclass(frozen=True)
class InspectedSource:
    """What a source holds, what it gives to each split, what was left out of it."""

    source: str
    share: float | None
    n_documents: int
    n_bytes: int
    train_bytes: int
    heldout_bytes: int
    skipped: int
    duplicates: int
    links: int


@dataclass(frozen=True)
class TaskRates:
    """How often a source shows a task, per MB of training text: places that look like the task's clean and like its
    corrupt side and go on with the right answer, and those that go on with the wrong one."""

    task: str
    source: str
    clean: float
    clean_wrong: float
    corrupt: float
    corrupt_wrong: float


@dataclass(frozen=True)
class Inspected:
    """What `thinwire data inspect` prints."""

    sources: tuple[InspectedSource, ...]
    tasks: tuple[TaskRates, ...]
    """For each task and source; rows of `all` weigh the sources by what they give to the training text."""


class _Rates(NamedTuple):
    clean: float
    clean_wrong: float
    corrupt: float
    corrupt_wrong: float


def inspect(config: DataConfig, progress: Progress = silent) -> Inspected:
    """Measure the training text of every source of `config`: size, and how much of each task it shows.

    Raises `UserError` as `read_corpus` does.
    """
    corpus = read_corpus(config, progress)
    stream = Stream(corpus, config)
    rates: dict[str, dict[str, _Rates]] = {}
    with progress(
        "count contexts", total=sum(d.split == "train" for d in corpus.documents), unit="document"
    ) as advance:
        for number, source in enumerate(corpus.sources):
            counted = count_contexts(_training_texts(corpus, number, advance))
            n_bytes = sum(d.n_bytes for d in corpus.documents if d.source == number and d.split == "train")
            rates[source.name] = {task: _per_megabyte(both, n_bytes) for task, both in counted.items()}
    sources = tuple(_source(stream, number) for number in range(len(corpus.sources)))
    if len(sources) > 1:
        rates[ALL] = _weighed(rates, {row.source: row.train_bytes for row in sources})
    tasks = list(next(iter(rates.values())))
    rows = tuple(TaskRates(task, name, *own[task]) for task in tasks for name, own in rates.items())
    return Inspected(sources, rows)


def _training_texts(corpus: Corpus, number: int, advance: Callable[[], None]) -> Iterator[str]:
    wanted = [d for d in corpus.documents if d.source == number and d.split == "train"]
    for _, text in corpus.read(number, wanted):
        yield text
        advance()


def _source(stream: Stream, number: int) -> InspectedSource:
    source, left = stream.corpus.sources[number], stream.corpus.left[number]
    own = [d for d in stream.corpus.documents if d.source == number]
    return InspectedSource(
        source=source.name,
        share=source.part.share,
        n_documents=len(own),
        n_bytes=sum(d.n_bytes for d in own),
        **{f"{split}_bytes": stream.counts(number, split)["n_bytes"] for split in SPLITS},
        **asdict(left),
        links=source.files.n_links,
    )


def _per_megabyte(both: tuple[Places, Places], n_bytes: int) -> _Rates:
    per = MEGABYTE / max(n_bytes, 1)
    return _Rates(*(n * per for places in both for n in (places.right, places.wrong)))


def _weighed(rates: dict[str, dict[str, _Rates]], n_bytes: dict[str, int]) -> dict[str, _Rates]:
    """Rates of the sources together, each by its bytes."""
    whole = sum(n_bytes.values())

    def mean(task: str, place: int) -> float:
        return sum(own[task][place] * n_bytes[name] for name, own in rates.items()) / whole

    tasks = next(iter(rates.values()))
    return {task: _Rates(*(mean(task, place) for place in range(len(_Rates._fields)))) for task in tasks}
