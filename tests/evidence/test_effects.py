"""What a circuit loses without a part, where its nodes are active, what they read: held to a model built by hand."""

from copy import deepcopy

import pytest
import torch
from micro_model import ASK, CALL, COPY_ANSWERS, MARK_A, MARK_B, copy_model

from thinwire.circuits.ablation import isolate
from thinwire.circuits.edges import induced_edges
from thinwire.circuits.isolated import isolate_circuit, without
from thinwire.evidence.effects import edge_effects, effect, head_effects, heads_of, node_effects
from thinwire.evidence.examples import AFTER, BEFORE, N_EXAMPLES, extremes, histogram, node_examples, record
from thinwire.evidence.logit_lens import N_WORDS, node_words

CHANCE = 0.6931


def test_every_part_of_the_copy_circuit_is_needed() -> None:
    hand = copy_model()
    alone = isolate_circuit(hand.model, hand.circuit, hand.means, hand.prompts)
    base = effect(alone)
    assert base.accuracy == 1.0 and base.loss < 0.15
    heads = head_effects(alone)
    assert list(heads.without) == ["0.0", "1.0"] and heads.whole == base
    assert heads.n_prompts == 2 * hand.prompts.n_pairs
    for found in heads.without.values():
        assert found.accuracy == pytest.approx(0.5, abs=0.1)
        assert found.loss == pytest.approx(CHANCE, abs=0.05)
    nodes = node_effects(alone)
    assert len(nodes) == 19
    assert nodes["1.attn.out:" + str(hand.nodes["1.attn.out"][0])].loss == pytest.approx(CHANCE, abs=0.01)


def test_removing_a_value_edge_is_removing_its_path() -> None:
    hand = copy_model()
    edges = induced_edges(hand.model, hand.nodes)
    found = edge_effects(isolate_circuit(hand.model, hand.circuit, hand.means, hand.prompts), edges)
    assert list(found) == edges
    for edge in edges:
        if edge.target_site.endswith(".v"):  # nothing else carries the sign
            assert found[edge].loss == pytest.approx(CHANCE, abs=0.01)


def test_without_leaves_the_rest_alone() -> None:
    nodes = {"embed": [1, 2], "0.attn.v": [3, 20]}
    assert without(nodes, [("embed", 2), ("0.attn.v", 3)]) == {"embed": [1], "0.attn.v": [20]}
    assert nodes == {"embed": [1, 2], "0.attn.v": [3, 20]}
    assert heads_of({"0.attn.q": [0, 17], "0.attn.v": [16], "0.mlp.neuron": [5]}, 16) == {
        "0.0": [("0.attn.q", 0)],
        "0.1": [("0.attn.q", 17), ("0.attn.v", 16)],
    }


# --- examples -------------------------------------------------------------------------------------------------------


def test_extremes_take_one_place_of_a_row_and_ignore_padding() -> None:
    values = torch.tensor([[0.0, 3.0, 2.0, 99.0], [1.0, -5.0, 0.0, 0.0], [-1.0, -2.0, -3.0, -4.0]])
    tokens = torch.arange(12).reshape(3, 4)
    lengths = torch.tensor([3, 4, 4])
    high = extremes(values, tokens, lengths, 1)
    assert [(e.values[e.at], e.tokens[e.at]) for e in high] == [(3.0, 1), (1.0, 4)]  # 99 is padding
    assert high[0].tokens == [0, 1, 2]
    low = extremes(values, tokens, lengths, -1)
    assert [e.values[e.at] for e in low] == [-5.0, -4.0]  # row 0 has nothing below zero


def test_examples_show_a_window_around_the_extreme() -> None:
    values = torch.zeros(9, 40)
    values[:, 20] = torch.arange(9.0, 0.0, -1.0)
    found = extremes(values, torch.arange(360).reshape(9, 40), torch.full((9,), 40), 1)
    assert len(found) == N_EXAMPLES
    assert len(found[0].tokens) == BEFORE + 1 + AFTER and found[0].at == BEFORE


def test_a_histogram_counts_every_value() -> None:
    found = histogram(torch.tensor([0.0, 0.0, -1.0, 2.0]))
    assert (found.low, found.high, found.zero, sum(found.counts)) == (-1.0, 2.0, 0.5, 4)
    assert sum(histogram(torch.zeros(5)).counts) == 5  # one value alone has a width, too


def test_recorded_activations_are_those_of_the_forward_pass() -> None:
    hand = copy_model()
    tokens = hand.prompts.tokens[:70]  # more than one batch
    keep = isolate(hand.model, hand.nodes, hand.means)
    seen = {}

    def hook(site: str, x: torch.Tensor) -> torch.Tensor:
        seen[site] = keep(site, x)
        return seen[site]

    hand.model(tokens, hook)
    for site, values in record(hand.model, hand.nodes, tokens, keep).items():
        assert torch.allclose(values, seen[site][..., hand.nodes[site]], atol=1e-5)


def test_the_marker_is_where_the_copied_value_is_most_extreme() -> None:
    hand = copy_model()
    found = node_examples(hand.model, {"0.attn.v": [0]}, hand.prompts.tokens, hand.prompts.lengths)["0.attn.v:0"]
    assert all(e.values[e.at] > 0 for e in found.positive)
    assert all(e.values[e.at] < 0 for e in found.negative)


# --- words ----------------------------------------------------------------------------------------------------------


def test_a_node_reads_and_writes_the_tokens_of_its_weights() -> None:
    hand = copy_model()
    words = node_words(hand.model, hand.nodes, str)
    key = words["0.attn.k:0"].model.reads  # its one weight is 3, on a channel: +2 for markers, -2 for their twins
    assert {(t, v) for t, v in key if v > 0} == {(str(MARK_A), 6.0), (str(MARK_B), 6.0)}
    assert (str(CALL), 6.0) in words["0.attn.q:0"].model.reads and (str(ASK), 6.0) in words["1.attn.q:0"].model.reads
    answer = dict(words["1.attn.v:0"].model.writes)  # through the out weight of 1 to the unembedding's +-0.7
    first, second = map(str, COPY_ANSWERS)
    assert {token: round(value, 3) for token, value in answer.items()} == {first: 0.7, second: -0.7}
    assert words["0.attn.k:0"].model.writes == []
    assert words["1.attn.out:" + str(hand.nodes["1.attn.out"][0])].model.reads == []
    lists = [
        side for said in words.values() for half in (said.circuit, said.model) for side in (half.reads, half.writes)
    ]
    assert all(len(side) <= N_WORDS for side in lists)


def test_words_inside_a_circuit_know_its_channels_alone() -> None:
    """A value that reads two embedding channels, of which the circuit keeps one; its answer channel is not kept."""
    model = deepcopy(copy_model().model)
    kept, dropped = 3, 5
    weight = model.get_parameter("blocks.0.attn.v.weight")
    nodes = {"embed": [kept], "0.attn.in": [kept, dropped], "0.attn.v": [0], "0.attn.out": [7], "final": []}
    with torch.no_grad():
        weight.zero_()
        weight[0, kept], weight[0, dropped] = 2.0, 1.0
        model.embed.weight.zero_()
        model.embed.weight[10, kept], model.embed.weight[11, dropped] = 1.0, 4.0
    said = node_words(model, nodes, str)["0.attn.v:0"]
    assert said.model.reads == [("11", 4.0), ("10", 2.0)]
    assert said.circuit.reads == [("10", 2.0)]
    assert said.circuit.writes == []
