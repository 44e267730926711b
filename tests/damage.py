"""Damaged copies of the files of a run: a seeded stream of mutations, each of one file.

Three kinds:

- `spoil`: bytes change, or the file is gone, empty, a folder, a pipe, a link to a device; nothing is sealed again;
- `rewrite`: one value of a JSON, JSONL or YAML file becomes another that cannot stand there, or a key goes, comes or
  stands twice, and the manifest is sealed again, as by somebody who knows how;
- `retensor`: the same for the tensors of a .safetensors file and for its header.
"""

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import load, save

from thinwire.storage.files import MANIFEST, sha256

WRONG: tuple[Any, ...] = (None, True, "many", [], {}, [[1]], {"a": 1}, -7, 0.5, 1e300, 10**30, "\u202e", "x" * 70_000)
"""Values that some key cannot have."""


@dataclass(frozen=True)
class Damage:
    """What was done, in words for a failing test."""

    file: str
    how: str


def damage(run: Path, file: str, random: Random) -> Damage:
    """Damage one file below `run` in place."""
    path, ways = run / file, [spoil]
    if path.suffix in (".json", ".jsonl", ".yaml"):
        ways += [rewrite] * 4
    if path.suffix == ".safetensors":
        ways += [retensor] * 4
    how = random.choice(ways)(path, random)
    return Damage(file, how)


def spoil(path: Path, random: Random) -> str:
    """Damage that a disk, or a hand that does not know of checksums, may do."""
    content = path.read_bytes()
    place = random.randrange(len(content))
    ways = ("flip", "cut", "empty", "gone", "noise", "folder", "pipe", "device", "loop")
    how = random.choices(ways, weights=(4, 4, 1, 1, 2, 1, 1, 1, 1))[0]
    if how in ("flip", "cut", "empty", "noise"):
        flipped = bytes([content[place] ^ (1 << random.randrange(8))])
        path.write_bytes(
            {
                "flip": content[:place] + flipped + content[place + 1 :],
                "cut": content[:place],
                "empty": b"",
                "noise": random.randbytes(len(content) % 4096 + 1),
            }[how]
        )
        return f"{how} at {place} of {len(content)}"
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "device":
        path.symlink_to("/dev/zero")
    elif how == "loop":
        path.symlink_to(path.name)
    return how


def rewrite(path: Path, random: Random) -> str:
    """Give one value of a file of values a wrong one, and seal the file again."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":
        values, how = _edited(yaml.safe_load(text), random)
        text = yaml.safe_dump(values, sort_keys=False)
    elif path.suffix == ".jsonl":
        lines = text.splitlines()
        place = random.randrange(len(lines))
        values, how = _edited(json.loads(lines[place]), random)
        lines[place] = json.dumps(values)
        text, how = "\n".join(lines) + "\n", f"line {place + 1}: {how}"
    elif random.random() < 0.12:
        text, how = _odd_json(text, random)
    else:
        values, how = _edited(json.loads(text), random)
        text = json.dumps(values)
    path.write_text(text, encoding="utf-8")
    reseal(path)
    return how


def _edited(values: Any, random: Random) -> tuple[Any, str]:
    """(values with one thing wrong, what)."""
    holder, key = random.choice(list(_places(values)))
    name = ".".join(map(str, _path_to(values, holder, key)))
    how = random.choice(("value", "value", "value", "value", "gone", "more", "twice"))
    if how == "gone":
        del holder[key]
        return values, f"{name} gone"
    if how == "more" and isinstance(holder, dict):
        holder["surprise"] = 1
        return values, f"a key more beside {name}"
    if how == "twice" and isinstance(holder, list):
        holder.insert(key, holder[key])
        return values, f"{name} twice"
    others = [wrong for wrong in WRONG if not _alike(wrong, holder[key])]
    holder[key] = random.choice(others)
    return values, f"{name} = {str(holder[key])[:30]!r}"


def _alike(wrong: Any, value: Any) -> bool:
    """Whether a wrong value may well be right there: a text for a text, a number of the same sign and kind."""
    if isinstance(value, bool) or value is None or isinstance(wrong, bool) or wrong is None:
        return wrong is value
    if isinstance(value, str):
        return isinstance(wrong, str) and len(wrong) < 100
    if isinstance(value, int | float):
        return isinstance(wrong, float) and isinstance(value, float) and wrong < 1
    return type(wrong) is type(value) and wrong == value


def _places(values: Any) -> Iterator[tuple[Any, Any]]:
    """(holder, key) of everything inside."""
    keys = list(values) if isinstance(values, dict) else range(len(values))
    for key in keys:
        yield values, key
        if isinstance(values[key], dict | list):
            yield from _places(values[key])


def _path_to(values: Any, holder: Any, key: Any) -> list[Any]:
    """The keys that lead to a place; by identity, for messages."""
    if values is holder:
        return [key]
    for inner in list(values) if isinstance(values, dict) else range(len(values)):
        if isinstance(values[inner], dict | list) and (found := _path_to(values[inner], holder, key)):
            return [inner, *found]
    return []


def _odd_json(text: str, random: Random) -> tuple[str, str]:
    """Text that is JSON for some and should be for nobody."""
    deep, brace = "[" * 100_000, text.index("{") if "{" in text else 0
    odd = {
        "deep": deep + "]" * len(deep),
        "NaN": text.replace("0", "NaN", 1),
        "5,000 digits": text.replace("1", "1" * 5000, 1),
        "a key twice": text[: brace + 1] + '"twice": 1, "twice": 2,' + text[brace + 1 :],
        "half a pair": text.replace('"', '"\\ud800', 1),
        "a list": f"[{text}]",
        "nothing": "null",
    }
    how = random.choice(sorted(odd))
    return odd[how], how


def retensor(path: Path, random: Random) -> str:
    """Give a file of tensors wrong ones, and seal it again."""
    tensors = load(path.read_bytes())
    name = random.choice(sorted(tensors))
    tensor = np.array(tensors[name])
    ways = {
        "not a number": lambda: np.full_like(tensor, np.nan, dtype=np.float32),
        "infinite": lambda: np.full_like(tensor, np.inf, dtype=np.float32),
        "negative": lambda: np.full_like(tensor, np.array(-3).astype(tensor.dtype)),
        "large": lambda: np.full_like(
            tensor, min(10**6, np.iinfo(tensor.dtype).max) if tensor.dtype.kind == "i" else 100
        ),
        "halves": lambda: tensor.astype(np.float16),
        "a row less": lambda: tensor[1:],
        "a dimension more": lambda: tensor[None],
        "empty": lambda: tensor[:0],
    }
    if path.name == "model.safetensors":  # other finite weights are another model, whose circuits are refused
        del ways["negative"], ways["large"]
    how = random.choice((*ways, "gone", "renamed", "header"))
    if how == "header":
        content = path.read_bytes()
        size = random.choice((2**63, 2**40, 0, 7, len(content)))
        path.write_bytes(struct.pack("<Q", size) + content[8:])
    elif how in ("gone", "renamed"):
        kept = {other: values for other, values in tensors.items() if other != name}
        path.write_bytes(save(kept | ({f"{name}s": tensors[name]} if how == "renamed" else {})))
    else:
        path.write_bytes(save(tensors | {name: np.ascontiguousarray(ways[how]())}))
    reseal(path)
    return f"{name} {how}"


def reseal(path: Path) -> None:
    """Let the manifest of the file's directory vouch for what the file holds now."""
    manifest = path.parent / MANIFEST
    if path.name == MANIFEST or not manifest.exists():
        return
    values, content = json.loads(manifest.read_text()), path.read_bytes()
    if path.name in values["files"]:
        values["files"][path.name] = {"sha256": sha256(content), "bytes": len(content)}
        manifest.write_text(json.dumps(values))
