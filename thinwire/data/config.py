"""DataConfig: which text a model learns from. Data only."""

from dataclasses import dataclass

from thinwire.errors import UserError

STDLIB = "stdlib"


@dataclass(frozen=True)
class DataConfig:
    """Which documents make up the corpus, and which of them are held out of training."""

    source: str = STDLIB
    """`stdlib` (the running interpreter's own standard library, tests left out), a path to a folder or a file, or
    `hf:NAME` (a Hugging Face data set, on the hub or in a folder)."""
    suffixes: tuple[str, ...] = (".py",)
    """Endings of the file names that are read from a folder; an empty ending takes every file. A .jsonl or .parquet
    file holds one document in each line or row, any other file is one document."""
    text_field: str = "text"
    """Field of a line, row or record that holds its text."""
    subset: str = ""
    """Configuration of a Hugging Face data set, where it has several."""
    split: str = "train"
    """Split of a Hugging Face data set that is read; training and held-out documents both come from it."""
    max_documents: int = 0
    """Documents that are read of .jsonl, .parquet or a Hugging Face data set; 0 takes all."""
    heldout_frac: float = 0.05
    """Share of documents that are held out, by a hash of their relative path; in (0, 1)."""
    tokenizer: str = ""
    """A tokenizer.json to use, such as that of another run, instead of learning one from the corpus."""

    def __post_init__(self) -> None:
        if not 0 < self.heldout_frac < 1:
            raise UserError(f"heldout_frac {self.heldout_frac} is not in (0, 1); the default is 0.05")
        if self.source in ("", "hf:"):
            raise UserError(f"source '{self.source}' names nothing; give a path, {STDLIB} or hf:NAME")
        if self.max_documents < 0:
            raise UserError(f"max_documents {self.max_documents} is negative; 0 takes all")
        if not self.suffixes:
            raise UserError("suffixes is empty; name at least one, such as .py")
