"""What the interactive page shows: the records that `thinwire view` fills in."""

from dataclasses import dataclass, field
from typing import Any

from thinwire.circuits.graph import Circuit
from thinwire.circuits.solved import Standing
from thinwire.evidence.records import Effect, Examples, PairEvidence, Said
from thinwire.viewer.contract import Judgement


@dataclass(frozen=True)
class ViewModel:
    n_layer: int
    d_model: int
    d_head: int
    density: float
    heldout_loss: float
    fingerprint: str


@dataclass(frozen=True)
class ViewNode:
    """One node of a circuit, over all prompts."""

    said: Said
    mean: float
    """What stands in for it once it is removed."""
    effect: float | None
    """Rise of the circuit's loss without it, nats; None where it was not measured."""
    text: Examples | None = None
    """In held-out text, in the whole model."""
    task: Examples | None = None
    """In the task's prompts, inside the circuit."""


@dataclass(frozen=True)
class LadderStep:
    """The circuit's k nodes of largest effect, alone."""

    k: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class Ladder:
    order: list[str]
    """Nodes, the largest effect first."""
    steps: list[LadderStep]


@dataclass(frozen=True)
class ViewCircuit:
    """One circuit of the page."""

    id: str
    """Its name on the page and in links."""
    model: str
    setting: str
    """Readable name of the settings under which it was found."""
    circuit: Circuit
    standing: Standing
    n_test_prompts: int
    base: Effect
    """The circuit whole, on the prompts of the nodes' effects."""
    node_prompts: int
    edge_prompts: int
    pairs: list[PairEvidence]
    nodes: dict[str, ViewNode]
    edge_effects: dict[str, float]
    """Position of an edge in the circuit's list -> rise of the loss without it."""
    ladder: Ladder
    judgement: Judgement | None = None
    graph: dict[str, Any] | None = None
    """Neuronpedia's graph JSON; None for large circuits."""


@dataclass(frozen=True)
class View:
    title: str
    models: dict[str, ViewModel]
    circuits: list[ViewCircuit]
    tokens: dict[str, str]
    """Token id -> text, of every token in an example."""
    created: str
    live: bool = False
    """Whether a server answers prompts."""
    first_prompts: dict[str, str] = field(default_factory=dict)
    """Circuit id -> what a live page has typed in at first: the task's first prompt as text."""
