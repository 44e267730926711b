"""Examples of nodes in SAEDashboard's form: the keys that it writes, the text that was measured."""

from dataclasses import asdict

import pytest

from thinwire.evidence.records import Example, Examples, Histogram, NodeWords, Said
from thinwire.interop.node_dashboards import Text, node_batches

WORDS = NodeWords([], [("a", 0.9), ("b", -0.4)])
FOUND = Examples(
    positive=[Example([1, 2, 3], [0.0, 2.5, 0.1], 1)],
    negative=[Example([4, 5], [-3.0, 0.0], 0)],
    histogram=Histogram(-3.0, 3.0, [1, 0, 5], 0.25),
)
BATCHES = node_batches(
    "sparse",
    2,
    {key: (Said(WORDS, WORDS), FOUND) for key in ("embed:3", "1.mlp.neuron:7", "1.mlp.neuron:9", "final:0")},
    Text("held-out text", 128, 64),
    lambda token: f"<{token}>",
)
KEYS = (
    "feature_index neuron_alignment_indices neuron_alignment_values neuron_alignment_l1 correlated_neurons_indices "
    "correlated_neurons_l1 correlated_neurons_pearson correlated_features_indices correlated_features_l1 "
    "correlated_features_pearson neg_str neg_values pos_str pos_values frac_nonzero freq_hist_data_bar_values "
    "freq_hist_data_bar_heights logits_hist_data_bar_heights logits_hist_data_bar_values n_prompts_total "
    "n_tokens_in_prompt dataset decoder_weights_dist activations"
)


def test_there_is_a_batch_for_each_site() -> None:
    assert {site: (batch.layer, batch.sae_set) for site, batch in BATCHES.items()} == {
        "embed": (0, "embed"),
        "1.mlp.neuron": (1, "mlp.neuron"),
        "final": (2, "final"),
    }
    assert [feature.feature_index for feature in BATCHES["1.mlp.neuron"].features] == [7, 9]


def test_a_feature_has_the_keys_of_the_format() -> None:
    batch = asdict(BATCHES["embed"])
    assert set(batch) == {"model_id", "layer", "sae_set", "features"} and batch["model_id"] == "sparse"
    (feature,) = batch["features"]
    assert set(feature) == set(KEYS.split())
    assert {frozenset(activation) for activation in feature["activations"]} == {
        frozenset({"tokens", "values", "bin_min", "bin_max", "bin_contains"})
    }


def test_a_feature_says_what_was_measured() -> None:
    (feature,) = BATCHES["final"].features
    assert (feature.pos_str, feature.pos_values, feature.neg_str, feature.neg_values) == (["a"], [0.9], ["b"], [-0.4])
    assert feature.frac_nonzero == 0.75 and feature.freq_hist_data_bar_heights == [1, 0, 5]
    assert feature.freq_hist_data_bar_values == pytest.approx([-2, 0, 2])  # middles of -3..-1, -1..1, 1..3
    first, second = feature.activations
    assert (first.tokens, first.values) == (["<1>", "<2>", "<3>"], [0.0, 2.5, 0.1])
    assert (second.tokens, second.values) == (["<4>", "<5>"], [-3.0, 0.0])
    assert {(a.bin_min, a.bin_max, a.bin_contains) for a in feature.activations} == {(-1, 3.0, -1)}
    assert (feature.n_prompts_total, feature.n_tokens_in_prompt, feature.dataset) == (128, 64, "held-out text")
