"""DataConfig: which text a model learns from. Data only."""

import re
from dataclasses import dataclass

from thinwire.errors import UserError
from thinwire.ranges import check

STDLIB = "stdlib"
STDLIB_TESTS = "stdlib-tests"
INSTALLED = "installed:"
"""Start of a source that names installed packages."""
HUGGING_FACE = "hf:"
"""Start of a source that names a Hugging Face data set, on the hub or in a folder."""


@dataclass(frozen=True)
class Part:
    """One source of a corpus."""

    source: str
    share: float | None = None
    """Its share of the training text, in bytes; None where the text is taken as it is."""


@dataclass(frozen=True)
class DataConfig:
    """Which documents make up the corpus, and which of them are held out of training."""

    source: str | tuple[str, ...] = STDLIB
    """`stdlib` (the running interpreter's own standard library), `stdlib-tests` (its tests), `installed:NAME,NAME`
    (sources of installed packages), a path to a folder or a file, or `hf:NAME` (a Hugging Face data set, on the hub or
    in a folder); or a list of these, each taken as it is or all with their shares of the training text, in bytes:
    [stdlib=0.5, stdlib-tests=0.2, installed:sympy=0.3]."""
    copies: int = 1
    """Times that a document may stand in the training text so that a scarce source meets its share. With 1 nothing is
    repeated, and the other sources are cut down to it."""
    suffixes: str | tuple[str, ...] = (".py",)
    """Endings of the file names that are read from a folder, .txt or [.py, .pyi]; an empty ending takes every file. A
    .jsonl or .parquet file holds one document in each line or row, any other file is one document."""
    text_field: str = "text"
    """Field of a line, row or record that holds its text."""
    subset: str = ""
    """Configuration of a Hugging Face data set, where it has several."""
    split: str = "train"
    """Split of a Hugging Face data set that is read; training and held-out documents both come from it."""
    max_documents: int = 0
    """Documents that are read of a source of .jsonl, .parquet or a Hugging Face data set; 0 takes all."""
    heldout_frac: float = 0.05
    """Share of documents that are held out, by a hash of their relative path; in (0, 1)."""
    dedupe_heldout: bool = False
    """Cut out of the held-out text whatever stands in training text for 32 tokens or more."""
    tokenizer: str = ""
    """A tokenizer.json to use, such as that of another run, instead of learning one from the corpus."""

    def __post_init__(self) -> None:
        check(
            self,
            copies="[1, 1e6]; 1 repeats nothing",
            max_documents="[0, 1e12]; 0 takes all",
            heldout_frac="(0, 1); the default is 0.05",
        )
        if not self.endings:
            raise UserError("suffixes is empty; name at least one, such as .py")
        _check_parts(self.parts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The sources in their order. A single one is taken as it is written, a `=` in it included."""
        if isinstance(self.source, str):
            return (Part(self.source),)
        return tuple(_part(text) for text in self.source)

    @property
    def endings(self) -> tuple[str, ...]:
        """`suffixes` as a tuple; a text may name several between commas."""
        return tuple(self.suffixes.split(",")) if isinstance(self.suffixes, str) else self.suffixes


def _part(text: str) -> Part:
    found = re.fullmatch(r"(.+)=(\d+\.?\d*|\.\d+)", text, re.DOTALL)
    return Part(found[1], float(found[2])) if found else Part(text)


def _check_parts(parts: tuple[Part, ...]) -> None:
    names = [part.source for part in parts]
    if not names:
        raise UserError(f"source is an empty list; name a path, {STDLIB} or hf:NAME")
    for name in names:
        if name in ("", HUGGING_FACE, INSTALLED):
            raise UserError(f"source '{name}' names nothing; give a path, {STDLIB}, installed:NAME or hf:NAME")
        if names.count(name) > 1:
            raise UserError(f"source '{name}' is named twice; give each source once, with its share")
    shares = [part.share for part in parts if part.share is not None]
    if shares and len(shares) < len(parts):
        without = next(part.source for part in parts if part.share is None)
        raise UserError(f"source '{without}' has no share and others have one; write {without}=SHARE, or no shares")
    if shares and (min(shares) <= 0 or abs(sum(shares) - 1) > 1e-3):
        raise UserError(f"the shares of source sum to {sum(shares):g}, not to 1, or one is 0; correct them")
