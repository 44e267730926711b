"""What the viewer reads: plain JSON dictionaries, written by the rest of the package.

`Circuit.to_dict()` (thinwire/circuits/graph.py) is the content of `circuit.json`; here it is
`CircuitDict`, of which the viewer reads the keys named below. Losses are in nats, tokens are
texts, nodes are written `site:channel` (`"0.mlp.neuron:412"`), heads `layer.head` (`"1.3"`).
"""

from typing import Any, NotRequired, TypedDict


class ScoreDict(TypedDict):
    """A model or circuit on one split: loss (nats), accuracy (share), kl (nats)."""

    loss: float
    accuracy: float
    kl: float


class CircuitDict(TypedDict):
    """The part of `circuit.json` that is drawn; further keys are ignored."""

    status: str
    """`solved` or `not_solved`."""
    n_nodes: int
    n_edges: int
    nodes: dict[str, list[int]]
    """Site -> kept channels."""
    edges: list[list[Any]]
    """[source site, source channel, target site, target channel, weight]."""
    answer_texts: list[str]
    unembed_edges: int
    residual_links: int
    scores: dict[str, ScoreDict]
    """Split -> score before calibration."""
    loss_curve: list[list[float]]
    """[number of nodes, validation loss], ascending in the number of nodes."""


class PairTokens(TypedDict):
    clean_tokens: list[str]
    corrupt_tokens: list[str]


class SideValues(TypedDict):
    """One number for each prompt of a pair."""

    clean: float
    corrupt: float


class AnswerProbability(TypedDict):
    """Probability of the clean prompt's answer among the two answers."""

    model: SideValues
    circuit: SideValues


class NodeEvidence(TypedDict):
    clean: list[float]
    """Activation at every token of the clean prompt."""
    corrupt: list[float]
    mean: float
    """Mean over the pretraining distribution: the value that replaces a removed node."""
    reads: list[str]
    """Tokens with the largest weight into this channel, largest first; empty where none applies."""
    writes: list[str]
    """Tokens whose logits this channel raises most, largest first; empty where none applies."""


class AttentionEvidence(TypedDict):
    """Attention patterns [query][key] of one head on both prompts; a sink takes what is missing to 1."""

    clean: list[list[float]]
    corrupt: list[list[float]]


class EffectDict(TypedDict):
    """The task inside a circuit from which a part was taken: loss (nats), accuracy (share), logit difference."""

    loss: float
    accuracy: float
    difference: float


class Evidence(TypedDict):
    """What one prompt pair does in one circuit."""

    pair: PairTokens
    probability: AnswerProbability
    nodes: dict[str, NodeEvidence]
    attention: dict[str, AttentionEvidence]
    unembed: NotRequired[dict[str, list[float]]]
    """`final:channel` -> weights [to the answer, to the other answer]; drawn where given."""
    measured_in: NotRequired[str]
    """Where activations and attention were recorded, in words (`the circuit`, `the whole model`)."""
    with_all_heads: NotRequired[EffectDict]
    without_head: NotRequired[dict[str, EffectDict]]
    """`layer.head` -> the circuit without that head, on the same pairs as `with_all_heads`."""


class Sufficiency(TypedDict):
    """Only the circuit is kept; test pairs."""

    loss: float
    accuracy: float
    kl: float


class Necessity(TypedDict):
    """The circuit is taken out of the whole model; test pairs."""

    model_loss: float
    nodes_loss: float
    nodes_accuracy: float
    edges_loss: float
    edges_accuracy: float
    random_losses: list[float]
    """Loss after ablating random node sets with the same count per site."""
    random_mean: float


class Verification(TypedDict):
    """The content of `verify.json`. Each test may also say `passed` (true, false, null), `threshold` and `sentence`."""

    sufficiency: Sufficiency
    necessity: Necessity
    verdict: NotRequired[str]
    reasons: NotRequired[list[str]]


class Way(TypedDict):
    """One way of choosing edges, as `baselines.json` holds it; test pairs."""

    method: str
    edges: int
    test_loss: float
    test_accuracy: float
    n_edges_to_target: int | None
    """Edges with which it meets the target on validation pairs."""
    n_edges_swept: int | None
    """What a sweep of nodes leaves of these."""


class Compared(TypedDict):
    methods: list[Way]
    """The circuit itself first."""


class TaskModel(TypedDict):
    """One task in one model."""

    circuit: CircuitDict
    verification: Verification | None
    evidence: Evidence | None
    baselines: NotRequired[Compared | None]


class Example(TypedDict):
    clean: str
    corrupt: str
    answer: str
    other: str


class TaskReport(TypedDict):
    """A task in both models, or in the one that the report is about."""

    name: str
    description: str
    excluded_cue: str
    example: Example
    sparse: NotRequired[TaskModel]
    dense: NotRequired[TaskModel]


class CurvePoint(TypedDict):
    step: int
    tokens: int
    loss: float
    density: float
    learning_rate: float
    heldout_loss: NotRequired[float | None]


class ModelReport(TypedDict):
    label: str
    recipe: str
    mode: str
    """How steps were computed: `exact`, `certified` or `regrow`."""
    savings: dict[str, float]
    """What the mode spared (`spared_rows`, `exchanges`, `norm_error`, `seconds_saved`); empty for `exact`."""
    n_layer: int
    d_model: int
    d_head: int
    context: int
    density: float
    n_parameters: int
    n_nonzero: int
    n_tokens: int
    heldout_loss: float
    curve: list[CurvePoint]
    fingerprint: str


class ModelPair(TypedDict):
    """Both models, or the one that the report is about."""

    sparse: NotRequired[ModelReport]
    dense: NotRequired[ModelReport]


class Corpus(TypedDict):
    source: str
    sha256: str
    n_files: int
    n_bytes: int
    n_train_tokens: int
    n_heldout_tokens: int


class TwinTried(TypedDict):
    d_model: int
    tokens_frac: float
    """Share of the training tokens that it saw."""
    heldout_loss: float
    chosen: bool


class TaskSelection(TypedDict):
    """Full-model scores of one task, before any pruning; `unavailable` says why there are none."""

    name: str
    sparse_accuracy: float | None
    sparse_loss: float | None
    dense_accuracy: float | None
    dense_loss: float | None
    solved: bool
    selected: bool
    unavailable: str | None


class Selection(TypedDict):
    rule: str
    tasks: list[TaskSelection]


class SummaryCell(TypedDict):
    """One cell of the main table; every value is None where the task is not solved."""

    n_nodes: int | None
    n_edges: int | None
    n_edges_unswept: int | None
    """Induced edges before the sweep of nodes."""
    n_minimal_edges: int | None
    """Edges left by the sweep of edges; None without one."""
    heldout_loss: float | None
    heldout_accuracy: float | None
    necessity_loss: float | None
    random_loss: float | None


class Summary(TypedDict):
    """The content of `summary.json`."""

    heldout_loss: dict[str, float]
    tasks: dict[str, dict[str, SummaryCell | None]]
    geomean_edges: dict[str, float | None]
    edge_ratio: float | None
    sweeps: dict[str, dict[str, float | None]]
    """Way of counting edges (a key of `SummaryCell`) -> geometric mean of each model, and `ratio`."""
    tasks_compared: list[str]
    seconds: float


class Stage(TypedDict):
    name: str
    budget_seconds: float
    seconds: float


class Report(TypedDict):
    """Everything that a report page shows.

    A report of one run has one model, `edge_ratio` None, and may leave `twins_tried`, `selection.tasks` and
    `stages` empty: the page then leaves these parts out.
    """

    title: str
    command: str
    """How to make this report again."""
    view_command: NotRequired[str]
    """How to write the interactive page of the same circuits."""
    created: str
    environment: dict[str, Any]
    corpus: Corpus
    models: ModelPair
    twin_rule: str
    twins_tried: list[TwinTried]
    selection: Selection
    target_loss: float
    tasks: list[TaskReport]
    summary: Summary
    stages: list[Stage]
