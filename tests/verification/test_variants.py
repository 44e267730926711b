"""Many interventions in one batch are each of them by itself, also where they go on from a stream that they share."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_builders import CONFIG, lively, tokens

from thinwire.circuits.ablation import ablate
from thinwire.circuits.edges import induced_edges
from thinwire.circuits.isolated import IsolatedCircuit
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.model.hooks import compose
from thinwire.model.nodes import Nodes, node_space
from thinwire.verification.variants import random_subsets, replace_in_circuit, replace_in_model, single

MODEL, SPACE = lively(), node_space(CONFIG)
PROMPTS = Prompts(tokens(6), torch.tensor([7, 5, 6, 7, 4, 6]), torch.tensor([1.0, 1, 1, -1, -1, -1]), 3, 4)
MEANS = {site: torch.linspace(-1, 1, width) for site, width in SPACE.widths.items()}

node_sets = st.lists(
    st.dictionaries(st.sampled_from(SPACE.sites), st.lists(st.integers(0, 11), max_size=3, unique=True), max_size=3),
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(node_sets)
def test_a_batch_is_each_variant_by_itself(variants: list[Nodes]) -> None:
    found = replace_in_model(MODEL, PROMPTS, variants, MEANS)
    assert found.shape == (len(variants), 6)
    for row, nodes in zip(found, variants, strict=True):
        assert torch.allclose(row, logit_difference(MODEL, PROMPTS, ablate(MODEL, nodes, MEANS)), atol=1e-4)


@pytest.mark.parametrize("norm_scales", ["own", "whole"])
def test_in_a_circuit_too(norm_scales) -> None:
    nodes = {site: range(0, width, 2) for site, width in SPACE.widths.items()}
    removed = tuple(induced_edges(MODEL, nodes)[::3])
    alone = IsolatedCircuit(MODEL, nodes, MEANS, PROMPTS, removed, norm_scales)
    variants: list[Nodes] = single([("final", 2), ("1.mlp.neuron", 4), ("0.attn.v", 6), ("embed", 0), ("1.attn.in", 8)])
    assert not torch.allclose(alone.difference(), replace(alone, removed=()).difference(), atol=1e-3)
    for row, gone in zip(replace_in_circuit(alone, variants, MEANS), variants, strict=True):
        hook = compose(alone.hook, ablate(MODEL, gone, MEANS))
        assert torch.allclose(row, logit_difference(MODEL, PROMPTS, hook, alone.edges), atol=1e-4)


def test_a_pass_goes_on_from_every_entry_to_the_same_end() -> None:
    entries = MODEL.entries(PROMPTS.tokens, ablate(MODEL, {"0.attn.v": [1]}, MEANS), {})
    end = MODEL.residual(PROMPTS.tokens, ablate(MODEL, {"0.attn.v": [1]}, MEANS), {})
    assert [entry.block for entry in entries] == [0, 1, 2]
    assert torch.equal(entries[-1].stream, end)
    for entry in entries[1:]:
        assert torch.equal(MODEL.residual(PROMPTS.tokens, ablate(MODEL, {}, MEANS), {}, entry), end)


def test_a_model_that_skips_zeros_is_the_same_model() -> None:
    quick = MODEL.skipping_zeros()
    assert quick.embed.weight.data_ptr() == MODEL.embed.weight.data_ptr()
    assert torch.allclose(logit_difference(quick, PROMPTS), logit_difference(MODEL, PROMPTS), atol=1e-4)
    assert not any(p.requires_grad for p in quick.parameters()) and not quick.training


def test_random_subsets_have_the_share_and_a_seed() -> None:
    nodes = [("embed", i) for i in range(10)] + [("final", i) for i in range(10)]
    subsets = random_subsets(nodes, 0.3, 4, seed=1)
    assert [sum(map(len, subset.values())) for subset in subsets] == [6] * 4
    assert subsets == random_subsets(nodes, 0.3, 4, seed=1) != random_subsets(nodes, 0.3, 4, seed=2)
    assert len({str(subset) for subset in subsets}) == 4
    assert random_subsets([], 0.5, 3, 0) == [] and len(random_subsets(nodes, 0.001, 1, 0)[0]) == 1
