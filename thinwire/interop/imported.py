"""What every importer hands over: a foreign model in our terms."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from thinwire.model.config import ModelConfig


@dataclass(frozen=True)
class Imported:
    """A model that somebody else trained, read and checked, not yet stored."""

    config: ModelConfig
    tensors: dict[str, Tensor]
    """Float32, by the names of `GPT.state_dict`; may be views of a file that is mapped into memory."""
    files: tuple[Path, ...]
    """That it was read from: config, then weights."""
    remarks: tuple[str, ...] = ()
    """What the import changed, a sentence each."""
