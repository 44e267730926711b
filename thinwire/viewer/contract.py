"""What a report shows: the records that whoever builds one fills in and that the page is drawn from.

Both builders (a run's report, a demo's comparison) make a `Report`, every function of the page takes one or a part of
it, and the page carries it as JSON. A part that is None, or an empty list, is left out of the page, not made up.
Losses are in nats, tokens are texts; circuits and evidence are the records of `circuits` and `evidence` themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from thinwire.circuits.graph import Circuit
from thinwire.circuits.solved import Standing
from thinwire.evidence.records import Evidence
from thinwire.storage.records import Loss, Positive, Seconds, Share, Text
from thinwire.viewer.constants import NOT_VERIFIED

Side = Literal["sparse", "dense"]
SIDES: tuple[Side, ...] = ("sparse", "dense")
Outcome = Literal["passed", "failed", "not run", "reported"]


@dataclass(frozen=True)
class JudgedTest:
    """One test of a circuit, in its own words."""

    name: str
    outcome: Outcome
    sentence: str
    threshold: str = ""
    """When it passes."""
    n_prompts: int | None = None
    """Prompts that it looked at, where it says so."""
    role: str = ""
    """How it counts in the verdict: `must pass`, `must not fail` or `describes`."""


@dataclass(frozen=True)
class Removals:
    """The task in the whole model with parts taken out."""

    n_prompts: int | None
    model_loss: float
    nodes_loss: float
    nodes_accuracy: float
    edges_loss: float
    edges_accuracy: float
    random_mean: float | None
    """Mean loss after random sets of as many nodes, over `n_random` sets."""
    random_largest: float | None
    n_random: int
    n_random_prompts: int | None = None
    """Prompts behind the random sets, which may be fewer than those behind the rest."""


@dataclass(frozen=True)
class Judgement:
    """What verification says of a circuit."""

    verdict: str
    """A word or two, such as `faithful`; empty where no verdict was given."""
    meaning: str
    """What the verdict says of this very circuit, as a clause; empty where it has none."""
    reasons: list[str]
    """What speaks against the circuit."""
    tests: list[JudgedTest]
    paper: str = ""
    """The same as the paper tests it, by sufficiency and necessity alone; empty where it was not stored."""
    judged: str = ""
    """Which edges the tests took, where these are not all of the circuit's: `its 10 minimal edges`."""
    scope: str = ""
    """On which prompts the verdict holds, as it follows the verdict."""
    cautions: list[str] = field(default_factory=list)
    """What does not change the verdict and has to be known beside it."""
    removals: Removals | None = None


@dataclass(frozen=True)
class Way:
    """One way of choosing edges."""

    method: str
    edges: int
    test_loss: float
    test_accuracy: float
    n_edges_to_target: int | None
    """Edges with which it meets the target on validation pairs."""
    n_edges_swept: int | None
    """What a sweep of nodes leaves of these."""


@dataclass(frozen=True)
class Compared:
    """A circuit beside other ways of choosing."""

    methods: list[Way]
    """The circuit itself first."""
    completeness_gap: float | None = None
    """Share of the loss between all nodes removed and none that the integrated gradients do not account for."""


@dataclass(frozen=True)
class Rung:
    """A circuit of the same task that was asked for more, or for less."""

    requirement: str
    """`sufficient`, `robust`, `faithful`, or the terms that were asked for."""
    met: bool
    """Whether all that was asked for holds on validation pairs."""
    not_met: list[str]
    """Terms that do not."""
    n_nodes: int
    n_edges: int
    verdict: str
    """Empty where it was not verified."""


@dataclass(frozen=True)
class TaskModel:
    """One task in one model."""

    circuit: Circuit
    setting: str
    """Readable name of the settings under which the circuit was found."""
    standing: Standing
    """Whether the whole model does the task and the circuit alone does it, on test pairs."""
    n_test_prompts: int
    judgement: Judgement | None = None
    evidence: Evidence | None = None
    baselines: Compared | None = None
    ladder: list[Rung] = field(default_factory=list)

    @property
    def target_met(self) -> bool:
        """Whether there is a circuit: one that meets its target on validation pairs."""
        return self.standing.target_met

    @property
    def verdict(self) -> str:
        """The verdict in a word or two; `not verified` where there is none."""
        return (self.judgement and self.judgement.verdict) or NOT_VERIFIED

    @property
    def suffices(self) -> bool:
        """Whether the circuit alone does the task by its test scores, and no verification denies it."""
        return self.standing.circuit_does and self.verdict != "not supported"

    @property
    def best_loss(self) -> float:
        """The lowest validation loss that the pruning reached, nats."""
        return min([self.circuit.scores["validation"].loss, *(value for _, value in self.circuit.loss_curve)])


@dataclass(frozen=True)
class ExamplePair:
    clean: str
    corrupt: str
    answer: str
    other: str


@dataclass(frozen=True)
class TaskReport:
    """A task in both models, or in the one that the report is about."""

    name: str
    description: str
    excluded_cue: str
    example: ExamplePair
    models: dict[Side, TaskModel]


@dataclass(frozen=True)
class CurvePoint:
    step: int
    tokens: int
    loss: float
    density: float
    learning_rate: float
    heldout_loss: float | None = None


@dataclass(frozen=True)
class ModelReport:
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
    n_bigram: int
    """Parameters of the dense bigram table; 0 without one."""
    n_tokens: int
    heldout_loss: float
    n_loss_tokens: int
    """Held-out tokens behind it."""
    curve: list[CurvePoint]
    n_curve_tokens: int
    """Held-out tokens behind each of the curve's losses."""
    fingerprint: str


@dataclass(frozen=True)
class Corpus:
    source: str
    sha256: str
    n_files: int
    n_bytes: int
    n_train_tokens: int
    n_heldout_tokens: int


@dataclass(frozen=True)
class TwinTried:
    d_model: Positive
    tokens_frac: Share
    """Share of the training tokens that it saw."""
    heldout_loss: Loss
    chosen: bool


@dataclass(frozen=True)
class Twins:
    """How the dense twin was chosen."""

    rule: str
    tried: list[TwinTried]


@dataclass(frozen=True)
class TaskSelection:
    """Scores of one task by the whole models, before any pruning; `unavailable` says why there are none."""

    name: str
    solved: bool
    selected: bool
    sparse_accuracy: Share | None = None
    sparse_loss: Loss | None = None
    dense_accuracy: Share | None = None
    dense_loss: Loss | None = None
    unavailable: str | None = None


@dataclass(frozen=True)
class Selection:
    rule: str
    tasks: list[TaskSelection]


@dataclass(frozen=True)
class Sizes:
    """Geometric means of circuit sizes over the same tasks, by one way of counting edges."""

    counted: str
    """Which edges, in words."""
    means: dict[Side, float | None]
    ratio: float | None


@dataclass(frozen=True)
class Means:
    """Sizes over tasks. A task that is left out says why."""

    tasks: list[str]
    """The tasks that the means are over."""
    left_out: dict[str, str]
    """Task -> why it is not among them."""
    sizes: list[Sizes]
    """The headline's way of counting is `headline`."""
    headline: Sizes


@dataclass(frozen=True)
class Stage:
    name: Text
    budget_seconds: Seconds
    seconds: Seconds


@dataclass(frozen=True)
class Report:
    """Everything that a report page shows. A report of one run has one model."""

    title: str
    command: str
    """How to make this report again."""
    view_command: str
    """How to write the interactive page of the same circuits; empty where there is none."""
    created: str
    environment: dict[str, Any]
    """Machine and versions, as the run recorded them."""
    corpus: Corpus
    models: dict[Side, ModelReport]
    tasks: list[TaskReport]
    means: Means
    solved_means: str
    """When a task counts as solved, in words."""
    choice_rule: str
    """Which circuit of a task is shown, in words."""
    twins: Twins | None = None
    selection: Selection | None = None
    stages: list[Stage] = field(default_factory=list)
    seconds: float = 0.0
    """Time of the whole run."""

    @property
    def paired(self) -> bool:
        """Whether two models are compared."""
        return len(self.models) == 2


def present(holder: Mapping[Side, Any]) -> list[Side]:
    """Which of `sparse` and `dense` there are, in this order."""
    return [side for side in SIDES if side in holder]
