"""Means are means; what is removed stands at its mean, and everything else is computed as before."""

import pytest
import torch
from model_builders import all_nodes, random_nodes, small_means, small_prompts, sparse_model, widths_of
from torch import Tensor

from thinwire.circuits.ablation import ablate, isolate, node_means, remove_edges, zero_means
from thinwire.circuits.graph import Edge
from thinwire.circuits.prompts import logit_difference
from thinwire.errors import UserError
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Hook, compose


def activations(model: GPT, tokens: Tensor, hook: Hook | None = None, edges=None) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}

    def record(site: str, x: Tensor) -> Tensor:
        seen[site] = x
        return x

    model(tokens, record if hook is None else compose(hook, record), edges)
    return seen


def test_means_are_over_all_positions_of_all_windows() -> None:
    model = sparse_model()
    windows = torch.randint(17, (150, 6), generator=torch.Generator().manual_seed(0))  # three batches of at most 64
    means = node_means(model, windows)
    seen = activations(model, windows[:, :-1])
    assert list(means) == list(widths_of()) == list(model.space.widths)
    for site, mean in means.items():
        torch.testing.assert_close(mean, seen[site].double().mean((0, 1)).float(), atol=1e-5, rtol=1e-5)


def test_the_last_token_of_a_window_is_a_target_only() -> None:
    model, windows = sparse_model(), torch.randint(17, (5, 6), generator=torch.Generator().manual_seed(0))
    other = windows.clone()
    other[:, -1] = (other[:, -1] + 1) % 17
    before, after = node_means(model, windows), node_means(model, other)
    assert all(torch.equal(before[site], after[site]) for site in before)


def test_zero_means_are_zero_at_every_site() -> None:
    found = zero_means(sparse_model())
    assert {site: len(mean) for site, mean in found.items()} == widths_of()
    assert not any(mean.any() for mean in found.values())


def test_keeping_everything_is_the_model_and_so_is_ablating_nothing() -> None:
    model, prompts, means = sparse_model(), small_prompts(), small_means()
    whole = logit_difference(model, prompts)
    for hook in (isolate(model, all_nodes(), means), ablate(model, {}, means)):
        torch.testing.assert_close(logit_difference(model, prompts, hook), whole, atol=1e-4, rtol=1e-4)
    kept = logit_difference(model, prompts, isolate(model, {}, means))
    assert not torch.allclose(kept, whole)


def test_keep_only_puts_every_other_node_at_its_mean() -> None:
    model, means, nodes = sparse_model(), small_means(), random_nodes(0.4)
    x = small_prompts().tokens
    seen = activations(model, x, isolate(model, nodes, means))
    for site, width in widths_of().items():
        for channel in set(range(width)) - set(nodes.get(site, ())):
            assert (seen[site][..., channel] == means[site][channel]).all()
    assert torch.equal(seen["embed"][..., nodes["embed"]], model.embed.weight[x][..., nodes["embed"]])


def test_ablate_touches_the_named_nodes_only() -> None:
    model, means = sparse_model(), small_means()
    nodes = {"0.mlp.neuron": [2, 5], "1.attn.v": [7]}
    before, after = (activations(model, small_prompts().tokens, hook) for hook in (None, ablate(model, nodes, means)))
    assert torch.equal(before["0.mlp.in"], after["0.mlp.in"])
    neurons = after["0.mlp.neuron"]
    assert (neurons[..., [2, 5]] == means["0.mlp.neuron"][[2, 5]]).all()
    rest = [c for c in range(16) if c not in (2, 5)]
    assert torch.equal(neurons[..., rest], before["0.mlp.neuron"][..., rest])
    assert (after["1.attn.v"][..., 7] == means["1.attn.v"][7]).all()
    assert not torch.equal(after["final"], before["final"])


def test_keep_only_and_ablate_are_complements() -> None:
    model, means, nodes = sparse_model(), small_means(), random_nodes(0.5)
    others = {s: [c for c in range(w) if c not in nodes.get(s, ())] for s, w in widths_of().items()}
    x = small_prompts()
    torch.testing.assert_close(
        logit_difference(model, x, isolate(model, nodes, means)),
        logit_difference(model, x, ablate(model, others, means)),
    )


def test_masks_hold_the_listed_channels() -> None:
    masks = sparse_model().space.masks({"embed": [0, 3], "1.mlp.neuron": [15]})
    assert masks["embed"].nonzero().flatten().tolist() == [0, 3]
    assert masks["1.mlp.neuron"].nonzero().flatten().tolist() == [15]
    assert sum(int(mask.sum()) for mask in masks.values()) == 3
    assert {site: len(mask) for site, mask in masks.items()} == widths_of()


def test_a_removed_edge_takes_its_part_of_the_mean_along() -> None:
    """The edge 0.attn.in:3 -> 0.attn.q:1 of weight w: q1 moves by w (mean - h3), nothing else at q does."""
    model, means = sparse_model(), small_means()
    model.get_parameter("blocks.0.attn.q.weight")[1, 3] = 1.5
    edge = Edge("0.attn.in", 3, "0.attn.q", 1, 1.5)
    masks = remove_edges(model, [edge], means)
    assert list(masks) == ["blocks.0.attn.q.weight"]
    x = small_prompts().tokens
    before, after = activations(model, x), activations(model, x, edges=masks)
    moved = 1.5 * (means["0.attn.in"][3] - before["0.attn.in"][..., 3])
    torch.testing.assert_close(after["0.attn.q"][..., 1] - before["0.attn.q"][..., 1], moved, atol=1e-5, rtol=1e-5)
    others = [c for c in range(8) if c != 1]
    torch.testing.assert_close(after["0.attn.q"][..., others], before["0.attn.q"][..., others])


def test_removing_all_edges_of_a_node_equals_ablating_it() -> None:
    """A neuron that no edge leaves any more might as well stand at its mean."""
    model, means, x = sparse_model(), small_means(), small_prompts()
    column = model.get_parameter("blocks.0.mlp.out.weight")[:, 6]
    edges = [Edge("0.mlp.neuron", 6, "0.mlp.out", t, float(w)) for t, w in enumerate(column)]
    by_edges = logit_difference(model, x, edges=remove_edges(model, edges, means))
    by_node = logit_difference(model, x, ablate(model, {"0.mlp.neuron": [6]}, means))
    torch.testing.assert_close(by_edges, by_node, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(by_edges, logit_difference(model, x))


def test_no_edges_leave_every_matrix_whole() -> None:
    assert remove_edges(sparse_model(), [], small_means()) == {}


def test_an_edge_between_sites_without_a_matrix_is_refused() -> None:
    with pytest.raises(UserError, match="no weight matrix leads from embed to final"):
        remove_edges(sparse_model(), [Edge("embed", 0, "final", 0, 1.0)], small_means())
