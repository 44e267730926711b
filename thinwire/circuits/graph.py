"""The Circuit: which nodes and edges of one model do one task, with the numbers measured on it.

A circuit is an artefact. Everything about it is in `circuit.json`; it refers to its model by
fingerprint and to its means and prompts by the files beside it.
"""

from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Literal, NamedTuple, TypeVar

from thinwire.errors import CorruptFile

SCHEMA_VERSION = 1

Status = Literal["solved", "not_solved"]


class Edge(NamedTuple):
    """One nonzero weight between two kept nodes."""

    source_site: str
    source: int
    target_site: str
    target: int
    weight: float


@dataclass(frozen=True)
class Score:
    """How a model or circuit does on one split of a task's pairs."""

    loss: float
    """Cross-entropy between the two answer tokens, nats, mean over both sides of all pairs."""
    accuracy: float
    """Share of prompts on which the right answer token has the larger logit."""
    kl: float
    """KL(full model || circuit) over the whole vocabulary at the last position, nats, mean; 0 for the model itself."""
    loss_error: float | None = None
    """Standard error of `loss`, pairs as the units; None in files from before it was kept."""
    n_pairs: int | None = None
    """Pairs behind the numbers; None in files from before it was kept."""


@dataclass(frozen=True)
class Calibration:
    """Scale and shift of the difference of the two answer logits, fitted on validation pairs."""

    scale: float = 1.0
    shift: float = 0.0


T = TypeVar("T", Score, Calibration)


def _strict(cls: type[T], values: dict[str, Any], where: str) -> T:
    names = {f.name for f in fields(cls)}
    needed = {f.name for f in fields(cls) if f.default is MISSING} if cls is Score else names
    if not needed <= values.keys() <= names:
        wrong = ", ".join(sorted(values.keys() - names | needed - values.keys()))
        raise CorruptFile(f"{where} in circuit.json has missing or unknown keys: {wrong}")
    return cls(**values)


@dataclass(frozen=True)
class Circuit:
    """A task circuit (Gao et al. 2025, section 2.3)."""

    status: Status
    """`solved` if the search met its target: the validation loss before calibration is at most `target_loss`. Whether
    the task is solved is more (`circuits.solved`)."""
    model_fingerprint: str
    """sha256 over the model's canonical weights."""
    tokenizer_sha256: str
    task: str
    task_version: int
    answer_tokens: tuple[int, int]
    """Token ids of (answer, other)."""
    answer_texts: tuple[str, str]
    target_loss: float
    nodes: dict[str, list[int]]
    """Site -> kept channels, ascending; sites without kept channels are left out."""
    edges: list[Edge]
    """Induced block edges: all nonzero weights between kept nodes."""
    minimal_edges: list[Edge] | None
    """Edges left after an edge sweep, the removed ones carrying their source's mean; None when no sweep was made."""
    embed_edges: int
    """Nonzero weights from tokens that occur in the task's prompts to kept `embed` nodes."""
    unembed_edges: int
    """Nonzero weights from kept `final` nodes to the two answer tokens."""
    n_biases: int
    """Nonzero biases on kept nodes."""
    residual_links: int
    """Pairs write(c) -> later read(c) of one kept residual channel; they carry no weight."""
    scores: dict[str, Score]
    """Split (train, validation, test) -> score before calibration."""
    calibrated_scores: dict[str, Score]
    model_scores: dict[str, Score]
    """Split -> score of the whole model."""
    calibration: Calibration
    ablation: Literal["mean", "task_mean", "zero"]
    loss_curve: list[tuple[int, float]]
    """(number of nodes, validation loss) in the order of tau: at counts spread over all sizes and at every count that
    the bisection looked at, ascending in the count. The sweep's circuit is not on this curve."""
    seed: int
    hyperparameters: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    norm_scales: Literal["own", "whole"] = "own"
    """RMSNorm scales under which the circuit was found and scored: its own, or held at the whole model's."""
    unswept: tuple[int, int] | None = None
    """(nodes, induced edges) before the sweep; None when no sweep was made."""
    minimal_scores: dict[str, Score] | None = None
    """Split -> score with the minimal edges only; None when no edge sweep was made."""

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

    def to_dict(self) -> dict[str, Any]:
        """The content of `circuit.json`."""
        values = asdict(self)
        values["edges"] = [list(edge) for edge in self.edges]
        values["minimal_edges"] = None if self.minimal_edges is None else [list(edge) for edge in self.minimal_edges]
        return {"schema_version": SCHEMA_VERSION, "n_nodes": self.n_nodes, "n_edges": self.n_edges, **values}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Circuit":
        """Inverse of `to_dict`. Raises `CorruptFile` on another schema version, unknown or missing keys."""
        values = dict(values)
        version = values.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise CorruptFile(f"circuit.json has schema_version {version}, this thinwire reads {SCHEMA_VERSION}")
        counts = {name: values.pop(name, None) for name in ("n_nodes", "n_edges")}
        names = {f.name for f in fields(cls)}
        if values.keys() != names:
            wrong = ", ".join(sorted(values.keys() ^ names))
            raise CorruptFile(f"circuit.json has missing or unknown keys: {wrong}")
        for name in ("scores", "calibrated_scores", "model_scores", "minimal_scores"):
            if values[name] is None and name == "minimal_scores":
                continue
            values[name] = {split: _strict(Score, score, name) for split, score in values[name].items()}
        values["calibration"] = _strict(Calibration, values["calibration"], "calibration")
        values["edges"] = [Edge(*edge) for edge in values["edges"]]
        if values["minimal_edges"] is not None:
            values["minimal_edges"] = [Edge(*edge) for edge in values["minimal_edges"]]
        values["answer_tokens"] = tuple(values["answer_tokens"])
        values["answer_texts"] = tuple(values["answer_texts"])
        values["unswept"] = None if values["unswept"] is None else tuple(values["unswept"])
        values["loss_curve"] = [tuple(point) for point in values["loss_curve"]]
        circuit = cls(**values)
        if counts != {"n_nodes": circuit.n_nodes, "n_edges": circuit.n_edges}:
            raise CorruptFile("circuit.json states counts that its own lists do not have")
        return circuit
