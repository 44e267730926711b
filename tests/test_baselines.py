"""Baselines choose by their own scores and are judged like a learned circuit."""

from functools import cache

import pytest
import torch
from micro_model import copy_model

from thinwire.circuits.ablation import widths
from thinwire.circuits.baselines import at_most_edges, attribution, baselines, first_nodes, top_edges, weight_magnitude
from thinwire.circuits.config import PruneConfig
from thinwire.circuits.describe import Identity, Setting
from thinwire.circuits.edges import induced_edges
from thinwire.model.checkpoint import fingerprint


@cache
def setting() -> Setting:
    hand = copy_model()
    return Setting(hand.model, hand.pairs, hand.means, Identity(hand.task, 1, fingerprint(hand.model), "0" * 64))


def test_attribution_puts_the_true_circuit_first() -> None:
    """Distractors reach the answers through norms and competition alone: their share is small."""
    hand = copy_model()
    nodes, _ = attribution(setting())
    inside = torch.zeros(len(nodes), dtype=torch.bool)
    start = 0
    for site, width in widths(hand.model).items():
        inside[[start + channel for channel in hand.nodes.get(site, [])]] = True
        start += width
    assert inside[nodes.argmax()]
    assert float(nodes[inside].abs().mean()) > 10 * float(nodes[~inside].abs().mean())


def test_magnitude_sums_weights_in_and_out() -> None:
    model = setting().model
    total = weight_magnitude(model)
    names = ("q", "k", "v")
    expected = sum(float(model.get_parameter(f"blocks.0.attn.{n}.weight")[:, 3].abs().sum()) for n in names)
    start = list(widths(model)).index("0.attn.in") * model.config.d_model
    assert float(total[start + 3]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("n_edges", [0, 7, 40])
def test_a_beginning_of_an_order_has_at_most_so_many_edges_and_is_the_longest(n_edges: int) -> None:
    model = setting().model
    order = torch.randperm(sum(widths(model).values()), generator=torch.Generator().manual_seed(0))
    nodes = at_most_edges(model, order, n_edges)
    count = sum(map(len, nodes.values()))
    assert len(induced_edges(model, nodes)) <= n_edges < len(induced_edges(model, first_nodes(model, order, count + 1)))


def test_top_edges_are_the_largest_and_their_nodes_are_kept() -> None:
    model = setting().model
    scores = {name: model.get_parameter(name).detach() for name in setting().objectives["train"].model.ends}  # pyright: ignore
    nodes, edges = top_edges(model, scores, 5)
    everything = induced_edges(model, {site: range(width) for site, width in widths(model).items()})
    assert sorted(e.weight for e in edges) == sorted(e.weight for e in everything)[-5:]
    assert all(e.source in nodes[e.source_site] and e.target in nodes[e.target_site] for e in edges)


def test_every_baseline_is_an_artefact_of_equal_size() -> None:
    n_edges = len(induced_edges(setting().model, copy_model().nodes))
    found = baselines(setting(), PruneConfig(), n_edges)
    assert set(found) == {"attribution", "magnitude", "random", "edge_attribution"}
    for name, circuit in found.items():
        size = circuit.n_minimal_edges if name == "edge_attribution" else circuit.n_edges
        assert size is not None and size <= n_edges
        assert set(circuit.scores) == {"train", "validation", "test"}
        scores = circuit.scores if circuit.minimal_scores is None else circuit.minimal_scores
        assert (circuit.status == "solved") == (scores["validation"].loss <= circuit.target_loss)
