"""What a verify.json says, read back: the verdict and every finding as its test returned it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from msgspec import Meta

from thinwire.errors import CorruptFile
from thinwire.storage.records import Count, Name, Seed, Sha256, Text, convert, of_version
from thinwire.verification.budget import Budget, BudgetName
from thinwire.verification.finding import HEAD, Finding
from thinwire.verification.registry import TESTS
from thinwire.verification.result import SCHEMA_VERSION, Examined
from thinwire.verification.verdict import Level, PaperLevel

ALWAYS = ("sufficiency", "necessity")
"""Tests that are run of every circuit."""


@dataclass(frozen=True)
class StoredScope:
    """The scope of a verdict, and its sentence."""

    claimed: tuple[Text, ...]
    holds: list[Text]
    outside: list[Text]
    unmeasured: dict[Text, Text]
    sentence: Text


@dataclass(frozen=True)
class Judged:
    """Everything in a verify.json but its findings."""

    task: Name
    status: Text
    n_nodes: Count
    judged_edges: Text
    n_judged_edges: Count
    norm_scales: Text
    model_fingerprint: Sha256
    seed: Seed
    budget: BudgetName
    counts: Budget
    verdict: Level
    paper_verdict: PaperLevel
    scope: StoredScope
    reasons: list[Text]
    cautions: list[Text]
    circuit_sha256: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]
    """Of the circuit's files; empty where the claim came from no files."""


@dataclass(frozen=True)
class StoredVerification(Examined):
    """A verify.json: what it judges and how, and the finding of every test by its name."""

    judged: Judged
    findings: Mapping[str, Finding]

    @property
    def verdict(self) -> Level:
        return self.judged.verdict


def read_verification(values: Any, where: Path | str) -> StoredVerification:
    """The record of a verify.json's values. Raises `CorruptFile` naming `where`, the test and the key."""
    head = of_version(values, SCHEMA_VERSION, where)
    if missing := [name for name in TESTS if name not in head]:
        raise CorruptFile(f"{where} has no finding of {missing[0]}; verify the circuit again")
    findings = {name: _finding(name, head.pop(name), f"{where}, {name}") for name in TESTS}
    return StoredVerification(convert(Judged, head, where), findings)


def _finding(test: str, stored: Any, where: str) -> Finding:
    if not isinstance(stored, dict):
        raise CorruptFile(f"{where}: no finding; verify the circuit again")
    values = {name: value for name, value in stored.items() if name != "verdict"}
    left_out = values.keys() <= set(HEAD) and test not in ALWAYS
    kind = Finding if left_out else get_type_hints(TESTS[test].run)["return"]
    found = convert(kind, values, where)
    if stored.get("verdict") != found.outcome:
        raise CorruptFile(f"{where}: its verdict is not {found.outcome}, as its numbers say; verify the circuit again")
    return found
