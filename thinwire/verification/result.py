"""What verifying a circuit ends in: the content of verify.json, typed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from thinwire.verification.budget import BUDGETS, BudgetName
from thinwire.verification.claim import Claim
from thinwire.verification.finding import Finding
from thinwire.verification.verdict import Verdict

SCHEMA_VERSION = 4
"""1 held sufficiency and necessity only; 2 called the judged edges n_edges, whichever they were; 3 judged minimal edges
in some tests and all induced ones in others."""


@dataclass(frozen=True)
class Verification:
    """The verdict on one claim, with everything that it rests on."""

    claim: Claim
    seed: int
    budget: BudgetName
    verdict: Verdict
    reasons: list[str]
    """One sentence or two for each test that speaks against the circuit."""
    findings: Mapping[str, Finding]
    """Name of the test -> its finding, in the order of docs/verification.md."""

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
            "seed": self.seed,
            "budget": self.budget,
            "counts": asdict(BUDGETS[self.budget]),
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            **{name: finding.to_dict() for name, finding in self.findings.items()},
        }
