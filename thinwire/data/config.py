"""DataConfig: which text a model learns from. Data only."""

from dataclasses import dataclass

from thinwire.errors import UserError

STDLIB = "stdlib"


@dataclass(frozen=True)
class DataConfig:
    """Which documents make up the corpus, and which of them are held out of training."""

    source: str = STDLIB
    """`stdlib` (the running interpreter's own standard library, tests left out), or a path to a folder or a file."""
    suffixes: tuple[str, ...] = (".py",)
    """Endings of the file names that are read from a folder; an empty ending takes every file."""
    heldout_frac: float = 0.05
    """Share of documents that are held out, by a hash of their relative path; in (0, 1)."""

    def __post_init__(self) -> None:
        if not 0 < self.heldout_frac < 1:
            raise UserError(f"heldout_frac {self.heldout_frac} is not in (0, 1); the default is 0.05")
        if not self.suffixes:
            raise UserError("suffixes is empty; name at least one, such as .py")
