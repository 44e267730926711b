"""What verifying a circuit ends in: the content of verify.json, typed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from thinwire.verification.budget import BUDGETS, BudgetName
from thinwire.verification.claim import Claim
from thinwire.verification.finding import Finding
from thinwire.verification.necessity import Necessity
from thinwire.verification.sufficiency import Sufficiency
from thinwire.verification.verdict import Level, Verdict

SCHEMA_VERSION = 4
"""1 held sufficiency and necessity only; 2 called the judged edges n_edges, whichever they were; 3 judged minimal edges
in some tests and all induced ones in others."""


class Examined:
    """What has findings, read from a file or just found: those of the two tests that are run of every circuit."""

    findings: Mapping[str, Finding]

    @property
    def sufficiency(self) -> Sufficiency:
        found = self.findings["sufficiency"]
        assert isinstance(found, Sufficiency)
        return found

    @property
    def necessity(self) -> Necessity:
        found = self.findings["necessity"]
        assert isinstance(found, Necessity)
        return found


@dataclass(frozen=True)
class Verification(Examined):
    """The verdict on one claim, with everything that it rests on."""

    claim: Claim
    seed: int
    budget: BudgetName
    judged: Verdict
    findings: Mapping[str, Finding]
    """Name of the test -> its finding, in the order of docs/verification.md."""
    circuit_sha256: str = ""
    """Of the files that hold the circuit, so that a verdict is not taken for that of another one; empty where the
    claim came from no files."""

    @property
    def verdict(self) -> Level:
        """The strict one of the two verdicts."""
        return self.judged.level

    @property
    def reasons(self) -> list[str]:
        """What speaks against the circuit."""
        return self.judged.reasons

    def to_dict(self) -> dict[str, Any]:
        """The content of verify.json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "task": self.claim.task,
            "status": self.claim.status,
            "n_nodes": self.claim.n_nodes,
            "judged_edges": self.claim.edge_kind,
            "n_judged_edges": len(self.claim.edges),
            "norm_scales": self.claim.norm_scales,
            "model_fingerprint": self.claim.model_fingerprint,
            "circuit_sha256": self.circuit_sha256,
            "seed": self.seed,
            "budget": self.budget,
            "counts": asdict(BUDGETS[self.budget]),
            "verdict": self.judged.level,
            "paper_verdict": self.judged.paper,
            "scope": {**asdict(self.judged.scope), "sentence": self.judged.scope.sentence},
            "reasons": list(self.judged.reasons),
            "cautions": list(self.judged.cautions),
            **{name: finding.to_dict() for name, finding in self.findings.items()},
        }
