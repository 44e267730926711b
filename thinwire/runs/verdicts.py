"""verify.json beside a circuit: bound to the circuit and the model that it judges, and held to that when it is read."""

import os
from pathlib import Path
from typing import Any

from thinwire.errors import CorruptFile
from thinwire.storage.files import is_sealed, read_either, sha256, sha256_file
from thinwire.storage.records import parse_json
from thinwire.verification.result import SCHEMA_VERSION
from thinwire.verification.stored import StoredVerification, read_verification
from thinwire.verification.verdict import Level, level_of

VERDICT_FILE = "verify.json"
CIRCUIT_FILES = ("circuit.json", "means.safetensors", "pairs.safetensors")
OUTDATED = "outdated"
"""In place of a verdict in tables: it was found by other tests than those of this version."""


class Outdated(CorruptFile):
    """A verify.json that another version of thinwire wrote."""


def circuit_sha256(path: Path) -> str:
    """Checksum of the files that hold the circuit in a directory, ours or another's; absent ones are left out."""
    held = [f"{name} {sha256_file(path / name)}\n" for name in CIRCUIT_FILES if os.path.lexists(path / name)]
    return sha256("".join(held).encode())


def stored_verification(path: Path) -> StoredVerification | None:
    """The verify.json in a circuit's directory; None where the circuit was not verified.

    Raises `CorruptFile` when it is damaged, was written by another version, is of another circuit or model than the
    one beside it, or states a verdict that does not follow from its tests.
    """
    where = path / VERDICT_FILE
    if not (is_sealed(path, VERDICT_FILE) if is_sealed(path) else where.is_file()):
        return None
    values = parse_json(read_either(path, VERDICT_FILE), where)
    if isinstance(values, dict) and values.get("schema_version") != SCHEMA_VERSION:
        raise Outdated(f"{where} was written by another version of thinwire; {_again(path)}")
    try:
        found = read_verification(values, where)
    except CorruptFile as error:
        raise CorruptFile(f"{str(error).partition(';')[0]}; {_again(path)}") from None
    if found.judged.circuit_sha256 != circuit_sha256(path):
        raise CorruptFile(f"{where} judges another circuit than the one beside it; {_again(path)}")
    if found.judged.model_fingerprint != _fingerprint(path):
        raise CorruptFile(f"{where} was measured on another model than the circuit's; {_again(path)}")
    if found.verdict != _level(found):
        raise CorruptFile(f"{where} states a verdict that does not follow from its tests; {_again(path)}")
    return found


def stored_verdict(path: Path) -> str | None:
    """The verdict beside the circuit at `path`, or `OUTDATED`; None where it was not verified. Raises `CorruptFile`."""
    try:
        found = stored_verification(path)
    except Outdated:
        return OUTDATED
    return None if found is None else found.verdict


def _fingerprint(path: Path) -> Any:
    values = parse_json(read_either(path, "circuit.json"), path / "circuit.json")
    return values.get("model_fingerprint") if isinstance(values, dict) else None


def _level(found: StoredVerification) -> Level:
    """The verdict that follows from the tests as they are stored."""
    passed = {name: finding.passed for name, finding in found.findings.items()}
    return level_of(found.sufficiency.model_accuracy, passed, bool(found.judged.scope.claimed))


def _again(path: Path) -> str:
    run = path.resolve().parents[3] if path.parent.parent.parent.name == "circuits" else None
    return f"verify the circuit again: thinwire verify {run or 'RUN'} {path}"
