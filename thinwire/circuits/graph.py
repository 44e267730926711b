"""The Circuit: which nodes and edges of one model do one task, with the numbers measured on it.

A circuit is an artefact. Everything about it is in `circuit.json`; it refers to its model by
fingerprint and to its means and prompts by the files beside it.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta

from thinwire.circuits.anatomy import Anatomy, anatomy
from thinwire.errors import CorruptFile
from thinwire.storage.records import (
    Count,
    Divergence,
    Loss,
    Name,
    Number,
    Seed,
    Sha256,
    Share,
    Text,
    convert,
    of_version,
)
from thinwire.tasks.task import SPLITS

SCHEMA_VERSION = 1

Status = Literal["solved", "not_solved"]
Ablation = Literal["mean", "task_mean", "zero"]
"""What a removed node's activation becomes: its mean over held-out text, or over the task's train prompts, or 0."""


Channel = Annotated[int, Meta(ge=0, lt=1 << 31)]
TokenId = Annotated[int, Meta(ge=0, lt=1 << 31)]


class Edge(NamedTuple):
    """One nonzero weight between two kept nodes."""

    source_site: Text
    source: Channel
    target_site: Text
    target: Channel
    weight: Number


@dataclass(frozen=True)
class Score:
    """How a model or circuit does on one split of a task's pairs."""

    loss: Loss
    """Cross-entropy between the two answer tokens, nats, mean over both sides of all pairs."""
    accuracy: Share
    """Share of prompts on which the right answer token has the larger logit."""
    kl: Divergence
    """KL(full model || circuit) over the whole vocabulary at the last position, nats, mean; 0 for the model itself."""
    loss_error: Loss | None = None
    """Standard error of `loss`, pairs as the units; None in files from before it was kept."""
    n_pairs: Count | None = None
    """Pairs behind the numbers; None in files from before it was kept."""


@dataclass(frozen=True)
class Demand:
    """How a circuit stands to one thing that its pruning asked for, on validation pairs."""

    value: Number
    """In the term's own unit (docs/pruning.md)."""
    limit: Number
    """The largest value that meets it."""

    @property
    def met(self) -> bool:
        return self.value <= self.limit


@dataclass(frozen=True)
class Calibration:
    """Scale and shift of the difference of the two answer logits, fitted on validation pairs."""

    scale: Number = 1.0
    shift: Number = 0.0


@dataclass(frozen=True)
class Circuit:
    """A task circuit (Gao et al. 2025, section 2.3)."""

    status: Status
    """`solved` if the search met its target: the validation loss before calibration is at most `target_loss`. Whether
    the task is solved is more (`circuits.solved`)."""
    model_fingerprint: Sha256
    """sha256 over the model's canonical weights."""
    tokenizer_sha256: Sha256
    task: Name
    task_version: Count
    answer_tokens: tuple[TokenId, TokenId]
    """Token ids of (answer, other)."""
    answer_texts: tuple[Text, Text]
    target_loss: Loss
    nodes: dict[Text, list[Channel]]
    """Site -> kept channels, ascending; sites without kept channels are left out."""
    edges: list[Edge]
    """Induced block edges: all nonzero weights between kept nodes."""
    minimal_edges: list[Edge] | None
    """Edges left after an edge sweep, the removed ones carrying their source's mean; None when no sweep was made."""
    embed_edges: Count
    """Nonzero weights from tokens that occur in the task's prompts to kept `embed` nodes."""
    unembed_edges: Count
    """Nonzero weights from kept `final` nodes to the two answer tokens."""
    n_biases: Count
    """Nonzero biases on kept nodes."""
    residual_links: Count
    """Pairs write(c) -> later read(c) of one kept residual channel; they carry no weight."""
    scores: dict[str, Score]
    """Split (train, validation, test) -> score before calibration."""
    calibrated_scores: dict[str, Score]
    model_scores: dict[str, Score]
    """Split -> score of the whole model."""
    calibration: Calibration
    ablation: Ablation
    loss_curve: Annotated[list[tuple[Count, Loss]], Meta(min_length=1)]
    """(number of nodes, validation loss) in the order of tau: at counts spread over all sizes and at every count that
    the bisection looked at, ascending in the count. The sweep's circuit is not on this curve."""
    seed: Seed
    hyperparameters: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    norm_scales: Literal["own", "whole"] = "own"
    """RMSNorm scales under which the circuit was found and scored: its own, or held at the whole model's."""
    unswept: tuple[Count, Count] | None = None
    """(nodes, induced edges) before the sweep; None when no sweep was made."""
    minimal_scores: dict[str, Score] | None = None
    """Split -> score with the minimal edges only; None when no edge sweep was made."""
    requirement: str = "sufficient"
    """What was asked for: `sufficient`, `robust`, `faithful`, or the terms themselves, joined by `+`."""
    demands: dict[str, Demand] = field(default_factory=dict)
    """Term -> what was asked and found on validation pairs; empty for circuits of before there were terms."""
    scope: list[Text] = field(default_factory=list)
    """Kinds of shifted prompts that the circuit is claimed to cover beside the task's own."""
    anatomy: Anatomy | None = None
    """What it is made of, counted as the paper counts; None for circuits from before it was kept."""
    directory: Path | None = field(default=None, compare=False, repr=False)
    """Where the circuit is stored; None for one that is not. No part of circuit.json."""

    @property
    def n_nodes(self) -> int:
        return sum(len(channels) for channels in self.nodes.values())

    @property
    def n_edges(self) -> int:
        """Circuit size: the number of induced block edges."""
        return len(self.edges)

    @property
    def n_minimal_edges(self) -> int | None:
        return None if self.minimal_edges is None else len(self.minimal_edges)

    @property
    def target_met(self) -> bool:
        """Whether the search met its target, on validation pairs."""
        return self.status == "solved"

    @property
    def not_met(self) -> list[str]:
        """Terms of what was asked for that validation pairs do not meet."""
        return [term for term, demand in self.demands.items() if not demand.met]

    def to_dict(self) -> dict[str, Any]:
        """The content of `circuit.json`."""
        values = asdict(self)
        del values["directory"]
        values["edges"] = [list(edge) for edge in self.edges]
        values["minimal_edges"] = None if self.minimal_edges is None else [list(edge) for edge in self.minimal_edges]
        return {"schema_version": SCHEMA_VERSION, "n_nodes": self.n_nodes, "n_edges": self.n_edges, **values}

    @classmethod
    def from_dict(cls, values: Any, where: Path | str = "circuit.json") -> "Circuit":
        """Inverse of `to_dict`. Raises `CorruptFile` naming `where`: for another schema version, an unknown or missing
        key, a value of another type or range, and parts that contradict one another.
        """
        values = of_version(values, SCHEMA_VERSION, where)
        counts = [values.pop(name, None) for name in ("n_nodes", "n_edges")]
        if "directory" in values:
            raise CorruptFile(f"{where}: unknown keys: directory; was it made by a newer version?")
        circuit = convert(cls, values, where)
        if counts != [circuit.n_nodes, circuit.n_edges]:
            raise CorruptFile(f"{where} states counts that its own lists do not have; restore it or prune again")
        for problem in _contradictions(circuit):
            raise CorruptFile(f"{where}: {problem}; restore it or prune again")
        return circuit


def _fits(stated: Anatomy, nodes: dict[str, list[int]]) -> bool:
    """Whether an anatomy is that of the nodes, as far as one can tell without the width of a head."""
    try:
        return replace(anatomy(nodes, 1), heads=stated.heads) == stated
    except ValueError:  # a site that no model has
        return False


def _contradictions(circuit: Circuit) -> Iterator[str]:
    """What is wrong in a circuit that has the right types, whatever the model."""
    for site, channels in circuit.nodes.items():
        if channels != sorted(set(channels)) or not channels:
            yield f"the channels of {site} are not ascending, or there are none"
    if circuit.anatomy and not _fits(circuit.anatomy, circuit.nodes):
        yield "the anatomy is not that of the nodes"
    kept = {(site, channel) for site, channels in circuit.nodes.items() for channel in channels}
    if len({edge[:4] for edge in circuit.edges}) < len(circuit.edges):
        yield "an edge is listed twice"
    if any(edge[:2] not in kept or edge[2:4] not in kept for edge in circuit.edges):
        yield "an edge leads from or to a node that is not kept"
    minimal = circuit.minimal_edges or []
    if len(set(minimal)) < len(minimal) or not set(minimal) <= set(circuit.edges):
        yield "minimal_edges are not a part of edges"
    if (circuit.minimal_edges is None) != (circuit.minimal_scores is None):
        yield "minimal_edges and minimal_scores come together"
    for name in ("scores", "calibrated_scores", "model_scores", "minimal_scores"):
        if (scores := getattr(circuit, name)) is not None and scores.keys() != set(SPLITS):
            yield f"{name} are not those of {', '.join(SPLITS)}"
    if circuit.answer_tokens[0] == circuit.answer_tokens[1] or circuit.answer_texts[0] == circuit.answer_texts[1]:
        yield "the two answers are the same"
