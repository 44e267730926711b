"""What the interactive page shows: the records that `thinwire view` fills in."""

from dataclasses import dataclass, field
from typing import Any

from thinwire.circuits.graph import Circuit
from thinwire.circuits.solved import Standing
from thinwire.evidence.records import ClassDifference, Degrees, Effect, Examples, PairEvidence, Said
from thinwire.viewer.contract import Judgement, Rung


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
    classes: ClassDifference | None = None
    """On all clean and on all corrupt test prompts, inside the circuit."""
    degrees: Degrees | None = None
    """Its weights in the whole model."""


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
    model_loss: float | None = None
    """Of the whole model on the same prompts."""


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
    requirements: list[Rung] = field(default_factory=list)
    """The smallest circuit of the task at each requirement; empty where nothing else was asked for."""
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


@dataclass(frozen=True)
class ViewOutline:
    """What a live page knows of a circuit before it is measured."""

    id: str
    model: str
    setting: str
    circuit: Circuit
    standing: Standing
    judgement: Judgement | None
    first_prompt: str
    """What is typed in at first: a prompt of the circuit's own task."""


@dataclass(frozen=True)
class LiveView:
    """A page with a server behind it, which measures a circuit when it is first opened."""

    title: str
    models: dict[str, ViewModel]
    circuits: list[ViewOutline]
    created: str
