"""What a demo decided and how long it took: demo.json, from which it goes on and its pages are made."""

from dataclasses import dataclass, field

from thinwire.storage.records import Count, Loss, Positive, Seconds, Seed, Share, Text
from thinwire.viewer.contract import Selection, Side, Stage, TwinTried

DEMO_FILE = "demo.json"


@dataclass(frozen=True)
class TaskChoice(Selection):
    """How the tasks were chosen, and which were."""

    names: tuple[Text, ...] = ()


@dataclass(frozen=True)
class Decided:
    """The content of demo.json; what is empty was not decided yet."""

    seed: Seed
    command: Text = ""
    candidates: tuple[tuple[Positive, Share], ...] = ()
    """(width, share of the training tokens) of the dense twins, in order of compute."""
    first_candidates: tuple[Count, ...] = ()
    """Positions of those that are trained first."""
    seconds: dict[Text, Seconds] = field(default_factory=dict)
    """Stage -> wall time."""
    stages: tuple[Stage, ...] = ()
    twins: tuple[TwinTried, ...] = ()
    heldout_loss: dict[Side, Loss] = field(default_factory=dict)
    """Nats per token; of the sparse model and the twin that was chosen."""
    selection: TaskChoice | None = None
    chosen: dict[Text, dict[Side, Text]] = field(default_factory=dict)
    """Task -> model -> its circuit's directory inside the demo's."""
    ladder: dict[Text, dict[Text, Text]] = field(default_factory=dict)
    """Task -> requirement -> the sparse model's circuit that was asked for it."""
