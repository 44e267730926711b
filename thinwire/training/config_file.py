"""RunConfig <-> config.yaml, strictly: an unknown key is an error that names file and key.

A missing key has its default: a run that was made before the key existed behaves as it did then.
"""

from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from thinwire.errors import CorruptFile
from thinwire.training.config import RunConfig


def to_yaml(config: RunConfig) -> str:
    """The resolved configuration, one key a line, in the order of the dataclasses."""
    return yaml.safe_dump(_plain(asdict(config)), sort_keys=False)


def from_yaml(text: str, path: Path) -> RunConfig:
    """Inverse of `to_yaml`. Raises `CorruptFile` naming `path` and the key."""
    try:
        return _build(RunConfig, yaml.safe_load(text), path, "")
    except yaml.YAMLError as error:
        raise CorruptFile(f"{path} is not valid YAML ({' '.join(str(error).split())})") from None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def _build(cls: type, values: Any, path: Path, prefix: str) -> Any:
    names = {f.name for f in fields(cls)}
    if not isinstance(values, dict):
        raise CorruptFile(f"{path}: {prefix.removesuffix('.') or 'the file'} holds no keys; restore it")
    if unknown := values.keys() - names:
        listed = ", ".join(sorted(f"{prefix}{name}" for name in unknown))
        raise CorruptFile(f"{path}: unknown keys: {listed}; was it made by a newer version?")
    types = get_type_hints(cls)
    built = {}
    for name, value in values.items():
        if is_dataclass(types[name]):
            value = _build(types[name], value, path, f"{prefix}{name}.")  # pyright: ignore[reportArgumentType]
        built[name] = tuple(value) if isinstance(value, list) else value
    try:
        return cls(**built)
    except (TypeError, ValueError) as error:
        raise CorruptFile(f"{path}: {' '.join(str(error).split())}") from None
