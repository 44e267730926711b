"""Examples of a circuit's nodes as SAELens' dashboards have them: what SAEDashboard writes and Neuronpedia reads.

Source of the format: SAEDashboard's batches for Neuronpedia, one for each layer and set of features; here one for each
site of the circuit, whose features are its kept channels. What is only known of autoencoders (alignment with neurons,
correlations, decoder weights) and was not measured (the histogram of logits) is empty.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from thinwire.evidence.records import Example, Examples, Said, Words
from thinwire.model.sites import EMBED, layer_of, parse_key, part_of

TOP = -1.0
"""What stands for the bounds of a bin where examples are the most active ones."""


@dataclass(frozen=True)
class Activation:
    """A piece of text."""

    tokens: list[str]
    values: list[float]
    """The node's activation at each token."""
    bin_min: float
    bin_max: float
    """The largest magnitude among the node's examples."""
    bin_contains: float


@dataclass(frozen=True)
class Feature:
    """A node; examples of its positive side come first, then those of its negative one."""

    feature_index: int
    neg_str: list[str]
    neg_values: list[float]
    """Tokens whose logits it lowers along the direct path, and by how much."""
    pos_str: list[str]
    pos_values: list[float]
    frac_nonzero: float
    freq_hist_data_bar_values: list[float]
    """Middles of the bins."""
    freq_hist_data_bar_heights: list[float]
    n_prompts_total: int
    n_tokens_in_prompt: int
    dataset: str
    activations: list[Activation]
    neuron_alignment_indices: list[int] = field(default_factory=list)
    neuron_alignment_values: list[float] = field(default_factory=list)
    neuron_alignment_l1: list[float] = field(default_factory=list)
    correlated_neurons_indices: list[int] = field(default_factory=list)
    correlated_neurons_l1: list[float] = field(default_factory=list)
    correlated_neurons_pearson: list[float] = field(default_factory=list)
    correlated_features_indices: list[int] = field(default_factory=list)
    correlated_features_l1: list[float] = field(default_factory=list)
    correlated_features_pearson: list[float] = field(default_factory=list)
    logits_hist_data_bar_heights: list[float] = field(default_factory=list)
    logits_hist_data_bar_values: list[float] = field(default_factory=list)
    decoder_weights_dist: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Batch:
    """The nodes of one site."""

    model_id: str
    layer: int
    """0 for `embed`, the number of layers for `final`."""
    sae_set: str
    """The site without its layer."""
    features: list[Feature]


@dataclass(frozen=True)
class Text:
    """What the examples were looked for in."""

    name: str
    n_prompts: int
    n_tokens: int
    """Tokens in each."""


def node_batches(
    model: str,
    n_layer: int,
    nodes: Mapping[str, tuple[Said, Examples]],
    text: Text,
    token_text: Callable[[int], str],
) -> dict[str, Batch]:
    """Site -> the batch of its nodes, from `site:channel` -> its words and its examples."""
    features: dict[str, list[Feature]] = {}
    for key, (said, examples) in nodes.items():
        site, channel = parse_key(key)
        features.setdefault(site, []).append(_feature(channel, said, examples, text, token_text))
    batches = {}
    for site, found in features.items():
        layer = layer_of(site)
        number = layer if layer is not None else 0 if site == EMBED else n_layer
        batches[site] = Batch(model, number, part_of(site), found)
    return batches


def _feature(channel: int, said: Said, examples: Examples, text: Text, token_text: Callable[[int], str]) -> Feature:
    found, bins = [*examples.positive, *examples.negative], examples.histogram
    largest = max((abs(example.values[example.at]) for example in found), default=0.0)
    width = (bins.high - bins.low) / len(bins.counts)
    below, above = (_signed(said.model.writes, sign) for sign in (-1, 1))
    return Feature(
        feature_index=channel,
        neg_str=[token for token, _ in below],
        neg_values=[weight for _, weight in below],
        pos_str=[token for token, _ in above],
        pos_values=[weight for _, weight in above],
        frac_nonzero=1 - bins.zero,
        freq_hist_data_bar_values=[bins.low + width * (i + 0.5) for i in range(len(bins.counts))],
        freq_hist_data_bar_heights=[float(count) for count in bins.counts],
        n_prompts_total=text.n_prompts,
        n_tokens_in_prompt=text.n_tokens,
        dataset=text.name,
        activations=[_activation(example, largest, token_text) for example in found],
    )


def _signed(words: Words, sign: int) -> Words:
    return [(token, weight) for token, weight in words if sign * weight > 0]


def _activation(example: Example, largest: float, token_text: Callable[[int], str]) -> Activation:
    return Activation([token_text(token) for token in example.tokens], list(example.values), TOP, largest, TOP)
