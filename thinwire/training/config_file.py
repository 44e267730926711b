"""RunConfig <-> config.yaml, strictly: an unknown key is an error that names file and key.

A missing key has its default: a run that was made before the key existed behaves as it did then.
"""

from pathlib import Path

import yaml

from thinwire.storage.records import convert, parse_yaml, plain
from thinwire.training.config import RunConfig


def to_yaml(config: RunConfig) -> str:
    """The resolved configuration, one key a line, in the order of the dataclasses."""
    return yaml.safe_dump(plain(config), sort_keys=False)


def from_yaml(content: bytes | str, path: Path) -> RunConfig:
    """Inverse of `to_yaml`. Raises `CorruptFile` naming `path` and the key."""
    return convert(RunConfig, parse_yaml(content.encode() if isinstance(content, str) else content, path), path)
