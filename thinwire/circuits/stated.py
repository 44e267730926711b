"""circuit.json of any making: our own, or three keys that somebody else wrote (docs/verification.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta

from thinwire.circuits.graph import Ablation, Channel, Circuit, Status
from thinwire.circuits.isolated import NormScales
from thinwire.errors import CorruptFile
from thinwire.storage.records import Name, Number, Sha256, Text, convert

TARGET_LOSS = 0.15
"""Loss that a circuit has to reach when its file does not say, nats (Gao et al. 2025, section 2.3)."""


class StatedEdge(NamedTuple):
    """An edge as somebody lists it; the weight is the model's, and is checked where it is given."""

    source_site: Text
    source: Channel
    target_site: Text
    target: Channel
    weight: Number | None = None


@dataclass(frozen=True)
class StatedCircuit:
    """What a circuit.json without a `schema_version` may hold."""

    model_fingerprint: Sha256
    task: Name
    nodes: dict[Text, list[Channel]]
    edges: list[StatedEdge] | None = None
    """All nonzero weights between the nodes when neither these nor `minimal_edges` are given."""
    minimal_edges: list[StatedEdge] | None = None
    target_loss: Annotated[float, Meta(gt=0, le=1e3)] = TARGET_LOSS
    status: Status | Literal["not stated"] = "not stated"
    ablation: Ablation = "mean"
    norm_scales: NormScales = "own"
    scope: list[Text] = field(default_factory=list)
    """Kinds of shifted prompts that the circuit is claimed to cover."""
    tokenizer_sha256: Sha256 | None = None
    hyperparameters: dict[str, Any] = field(default_factory=dict)


def read_stated(values: Any, where: Path | str) -> Circuit | StatedCircuit:
    """A whole artefact where the file states its `schema_version`, else what it says.

    Raises `CorruptFile` naming `where` and the key.
    """
    if isinstance(values, Mapping) and "schema_version" in values:
        return Circuit.from_dict(values, where)
    stated = convert(StatedCircuit, values, where)
    for site, channels in stated.nodes.items():
        if len(set(channels)) < len(channels):
            raise CorruptFile(f"{where}: a channel of {site} is listed twice; leave it out")
    return stated
