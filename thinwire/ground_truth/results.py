"""What is measured against a known circuit, as the benchmark stores it: one `ModelResult` for each model."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from thinwire.ground_truth.sizes import SizeName
from thinwire.storage.records import Count, Name, Number, Seconds, Seed, Share, Text, convert, of_version

SCHEMA_VERSION = 1

Ranking = Literal["signed", "absolute"]
"""Whether scores keep their sign, so that what speaks against the answer comes last."""


@dataclass(frozen=True)
class AgainstTruth:
    """A choice and a ranking, of nodes or of edges."""

    n_found: Count
    n_true: Count
    precision: Share
    recall: Share
    exact: bool
    auroc: Share
    cpr: Number
    cmd: Number
    faithfulness: list[Number]
    """f at each of `scores.FRACTIONS`."""


@dataclass(frozen=True)
class MethodResult:
    """One method on one model."""

    method: Text
    solved: bool
    """Whether the method met its own target on validation pairs."""
    exact: bool
    """Whether nodes and edges are the truth's."""
    sufficient: bool
    """Whether they are one of the minimal sufficient sets."""
    ranking: Ranking
    seconds: Seconds
    nodes: AgainstTruth
    edges: AgainstTruth


@dataclass(frozen=True)
class ClaimVerdict:
    """What `verify` says of the truth, or of a mutation."""

    claim: Text
    """`truth`, or what is wrong with it."""
    n_nodes: Count
    n_edges: Count
    verdict: Text
    failed: list[Text]
    """Tests that failed, deciding ones or not."""
    reasons: list[Text]

    @property
    def right(self) -> bool:
        """The truth is faithful, and nothing else."""
        return (self.claim == "truth") == (self.verdict == "faithful")


@dataclass(frozen=True)
class ModelResult:
    """All that was measured on one model."""

    family: Name
    size: SizeName
    seed: Seed
    n_nodes: Count
    n_edges: Count
    """Nonzero weights between nodes."""
    n_true_nodes: Count
    n_true_edges: Count
    methods: list[MethodResult]
    verdicts: list[ClaimVerdict]
    settings: dict[str, Any]
    """The benchmark's config."""

    def to_dict(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Any, where: str) -> "ModelResult":
        """Inverse of `to_dict`. Raises `CorruptFile` naming `where`: the version, or the key."""
        return convert(cls, of_version(values, SCHEMA_VERSION, where), where)
