"""RunConfig, or a ModelConfig alone, <-> config.yaml, strictly: an unknown key is an error that names file and key.

A missing key has its default: a run that was made before the key existed behaves as it did then.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from thinwire.model.config import ModelConfig
from thinwire.storage.records import convert, parse_yaml, plain
from thinwire.training.config import RunConfig


def to_yaml(config: RunConfig) -> str:
    """The resolved configuration, one key a line, in the order of the dataclasses."""
    return yaml.safe_dump(plain(config), sort_keys=False)


def from_yaml(content: bytes | str, path: Path) -> RunConfig:
    """Inverse of `to_yaml`. Raises `CorruptFile` naming `path` and the key."""
    return convert(RunConfig, _values(content, path), path)


def model_to_yaml(config: ModelConfig) -> str:
    """The config.yaml of a model whose training is not known: `model:` is its only section."""
    return yaml.safe_dump(plain(_ModelFile(config)), sort_keys=False)


def model_from_yaml(content: bytes | str, path: Path) -> ModelConfig:
    """Inverse of `model_to_yaml`. Raises `CorruptFile` naming `path` and the key."""
    return convert(_ModelFile, _values(content, path), path).model


@dataclass(frozen=True)
class _ModelFile:
    model: ModelConfig


def _values(content: bytes | str, path: Path) -> Any:
    return parse_yaml(content.encode() if isinstance(content, str) else content, path)
