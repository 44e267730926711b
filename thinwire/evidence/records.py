"""What a reader needs beside a circuit, as plain values: the seam between what measures and what shows.

Nodes are written `site:channel` (`0.mlp.neuron:412`), heads `layer.head` (`1.3`), tokens as texts. Losses are in nats.
"""

from dataclasses import dataclass

MEASURED_IN = "the circuit, all other nodes removed"
"""Where activations and attention are recorded, in words."""
Words = list[tuple[str, float]]
"""(token, weight along the direct path), largest magnitude first."""


@dataclass(frozen=True)
class Effect:
    """A task inside a circuit from which a part was taken."""

    loss: float
    """Cross-entropy between the two answers, nats, mean over prompts."""
    accuracy: float
    """Share of prompts with the right answer ahead."""
    difference: float
    """Mean logit of the right answer minus the other one's."""


@dataclass(frozen=True)
class HeadEffects:
    """A circuit without each of its heads, all on the same prompts."""

    n_prompts: int
    whole: Effect
    """The circuit with all its heads."""
    without: dict[str, Effect]
    """`layer.head` -> the circuit without the kept channels of that head."""


@dataclass(frozen=True)
class NodeActivity:
    """A node inside the circuit on one pair."""

    clean: list[float]
    """Activation at every token of the clean prompt."""
    corrupt: list[float]
    mean: float
    """What stands in for the node once it is removed."""


@dataclass(frozen=True)
class NodeWords:
    """Tokens that a node reads and writes along the direct path; empty where it has none."""

    reads: Words
    """Tokens whose embeddings weigh most in the node."""
    writes: Words
    """Tokens whose logits the node moves most."""


@dataclass(frozen=True)
class Said:
    """A node in words, by the weights that the circuit keeps and by all weights of the model."""

    circuit: NodeWords
    model: NodeWords


@dataclass(frozen=True)
class HeadLook:
    """Attention patterns [query][key] of one head; what is missing to 1 in a row went to the attention sink."""

    clean: list[list[float]]
    corrupt: list[list[float]]


@dataclass(frozen=True)
class HeadScores:
    """Why a head looks where it looks: its scores before the softmax, split over channels.

    The score of query token i and key token j is `rest` + sum over channels of query[c][i] key[c][j].
    """

    channels: list[int]
    """Channels of which the circuit keeps the query, the key or both; the others are constant."""
    clean_query: list[list[float]]
    """[channel][token], divided by sqrt(d_head)."""
    clean_key: list[list[float]]
    corrupt_query: list[list[float]]
    corrupt_key: list[list[float]]
    rest: float


@dataclass(frozen=True)
class Chances:
    """Probability of the clean prompt's answer among the two answers, after each prompt."""

    clean: float
    corrupt: float


@dataclass(frozen=True)
class PairEvidence:
    """What one pair of prompts does in a circuit."""

    clean_tokens: list[str]
    corrupt_tokens: list[str]
    model: Chances
    circuit: Chances
    nodes: dict[str, NodeActivity]
    attention: dict[str, HeadLook]
    """Of the heads that carry a kept value channel."""
    scores: dict[str, HeadScores]
    """Of the same heads."""
    unembed: dict[str, tuple[float, float]]
    """`final:channel` -> weights to the answer and to the other one."""


@dataclass(frozen=True)
class Evidence:
    """One pair of prompts, the nodes in words, and what the circuit does without each head."""

    pair: PairEvidence
    words: dict[str, Said]
    heads: HeadEffects


@dataclass(frozen=True)
class PromptActivity:
    """A circuit on one prompt, whole and without some parts. Probabilities are of its first answer among the two."""

    tokens: list[str]
    model: float
    circuit: float
    changed: float
    """Without the parts."""
    nodes: dict[str, tuple[list[float], list[float]]]
    """`site:channel` -> activations at every token: without the parts, and in the whole circuit."""
    attention: dict[str, tuple[list[list[float]], list[list[float]]]]
    """`layer.head` -> patterns [query][key]: without the parts, and in the whole circuit."""
    unembed: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class ClassDifference:
    """A node on the last places of all prompts, the prompts' last token last."""

    clean: list[float]
    """Mean activation over the clean prompts, which have one answer."""
    corrupt: list[float]
    """The same over the corrupt ones, which have the other."""
    spread: list[float]
    """Standard deviation within a class, the two classes' variances averaged."""


@dataclass(frozen=True)
class Degrees:
    """Nonzero weights at a node in the whole model; those of embedding and unembedding are not counted."""

    into: int
    out_of: int


@dataclass(frozen=True)
class Example:
    """A place in a text where a node is extreme."""

    tokens: list[int]
    values: list[float]
    """The node's activation at each of these tokens."""
    at: int
    """Which of them is the extreme one."""


@dataclass(frozen=True)
class Histogram:
    """Counts in equal bins from `low` to `high`."""

    low: float
    high: float
    counts: list[int]
    zero: float
    """Share of activations that are exactly zero."""


@dataclass(frozen=True)
class Examples:
    """Where a node is most active, by sign, and how its activations are spread."""

    positive: list[Example]
    """Largest first."""
    negative: list[Example]
    histogram: Histogram
