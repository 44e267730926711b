"""The fast forward is `GPT.forward` under hooks and edge masks: same losses, same gradients, whatever is shut."""

import itertools

import numpy as np
import pytest
import torch
from model_builders import random_gates, random_means, random_model, random_prompts

from thinwire.circuits.edges import induced_edges
from thinwire.model.config import Variant
from thinwire.pruning.engine import Engine, FastEngine, PlainEngine, engine
from thinwire.pruning.objective import Objective
from thinwire.pruning.prefix_tree import PrefixTree

SHAPES = [
    {},
    {"n_layer": 1},
    {"n_layer": 3, "d_head": 16, "positions": "learned"},
    {"sink": True},
    {"bigram": False, "activation_frac": 1.0},
    {"positions": "learned", "sink": True, "n_layer": 1},
    {"variant": Variant(activation="relu", topk_sites=("attn.q", "mlp.out", "resid.pre", "resid.post"))},
    {"variant": Variant(norm="layer", residual="relu", n_head=3, d_mlp=20), "sink": True, "n_layer": 3},
    {"positions": "learned", "variant": Variant(d_positions=5, activation="gelu_tanh")},
    {"positions": "learned", "n_layer": 1, "variant": Variant(d_positions=5, norm="layer", topk_sites=("resid.mid",))},
]
SHARES = (1.0, 0.6, 0.1, 0.0)


def assert_close(actual, expected) -> None:
    torch.testing.assert_close(actual, expected, rtol=2e-4, atol=2e-5)


def gradients(engine: Engine, gates, rows) -> tuple[torch.Tensor, torch.Tensor]:
    """(losses, gradients) of the task loss under mean ablation."""
    return Objective(engine, {"mean": 1.0}, 0.15).gradients(gates, rows, [torch.Generator()] * len(gates))


@pytest.fixture(params=SHAPES, ids=str)
def both(request) -> tuple:
    model, prompts = random_model(**request.param), random_prompts()
    means = random_means(model)
    return model, FastEngine(model, prompts, means), PlainEngine(model, prompts, means)


@pytest.mark.parametrize("share", SHARES)
def test_loss_gradients_and_logits_are_those_of_the_plain_forward(both, share) -> None:
    model, fast, plain = both
    gates, rows = random_gates(model, share), torch.tensor([7, 2, 3, 0])
    (loss,), (gradient,) = gradients(fast, gates[None], [rows])
    (expected,), (expected_gradient,) = gradients(plain, gates[None], [rows])
    assert_close(loss, expected)
    assert_close(gradient, expected_gradient)
    assert_close(fast.logits(gates), plain.logits(gates))
    assert fast.loss(gates) == pytest.approx(plain.loss(gates), rel=1e-4)


@pytest.mark.parametrize("share", [0.7, 0.15])
def test_single_edges_are_removed_as_edge_masks_remove_them(both, share) -> None:
    model, fast, plain = both
    gates = random_gates(model, share)
    edges = induced_edges(model, model.space.nodes(gates))[::2]
    assert fast.loss(gates, edges) == pytest.approx(plain.loss(gates, edges), rel=1e-4)
    assert_close(fast.logits(gates, edges), plain.logits(gates, edges))


def test_matrices_without_the_same_edges_are_made_once() -> None:
    """A trial asks for every part of its pairs, and for every term; the next one loses other edges."""
    model = random_model()
    fast = FastEngine(model, random_prompts(), random_means(model)).fast
    edges = induced_edges(model, model.space.nodes(random_gates(model, 0.15)))
    first = fast.without(edges[:2])
    assert fast.without(iter(edges[:2])) is first
    other = fast.without(edges[1:])
    assert other is not first and sum(len(thinned.sources) for thinned in other.values()) > 2


@pytest.mark.parametrize("share", [0.7, 0.15])
def test_effects_are_those_of_the_plain_forward(both, share) -> None:
    model, fast, plain = both
    gates = random_gates(model, share)
    nodes, edges = fast.effects(gates)
    expected_nodes, expected_edges = plain.effects(gates)
    assert_close(nodes, expected_nodes)
    sizes = model.space.nodes(gates)
    for name, expected in expected_edges.items():
        source, target = fast.fast.ends[name]
        if model.config.sink and name.endswith("attn.out.weight"):
            continue  # under a sink the mean arrives scaled, which the first-order estimate leaves out
        block = np.ix_(sizes.get(target, []), sizes.get(source, []))
        assert_close(edges[name][block], expected[block])


@pytest.mark.parametrize("share", SHARES)
def test_frozen_scales_are_the_whole_models(share) -> None:
    variant = Variant(d_positions=3, norm="layer", residual="relu")
    others = {"positions": "learned", "variant": variant}
    for shape in ({}, {"n_layer": 1}, {"positions": "learned", "n_layer": 3}, others):
        model, prompts = random_model(**shape), random_prompts()
        means, gates = random_means(model), random_gates(model, share)
        fast, plain = (kind(model, prompts, means, True) for kind in (FastEngine, PlainEngine))
        assert fast.loss(gates) == pytest.approx(plain.loss(gates), rel=1e-4)
        rows = [torch.tensor([1, 4, 9])]
        assert_close(gradients(fast, gates[None], rows)[1], gradients(plain, gates[None], rows)[1])
        if share == 0.6:
            own = FastEngine(model, prompts, means).loss(gates)
            assert fast.loss(gates) != pytest.approx(own, rel=1e-3)


def test_batched_is_one_by_one() -> None:
    """Fast: byte for byte, since nothing is shared. Plain: one batch of all vectors, equal up to rounding."""
    model, prompts = random_model(), random_prompts()
    vectors = torch.stack([random_gates(model, share, seed=i) for i, share in enumerate((0.9, 0.5, 0.2))])
    rows = [torch.tensor([0, 1, 2]), torch.tensor([3, 9, 1]), torch.tensor([5, 6, 7])]
    for kind, check in ((FastEngine, torch.equal), (PlainEngine, torch.allclose)):
        whole = kind(model, prompts, random_means(model))
        losses, slopes = gradients(whole, vectors, rows)
        for i in range(3):
            loss, gradient = gradients(whole, vectors[i : i + 1], rows[i : i + 1])
            assert check(loss[0], losses[i]) and check(gradient[0], slopes[i])


def test_bytes_do_not_depend_on_the_number_of_threads() -> None:
    """Width 64, so that every kernel has several blocks of rows to share out."""
    model, prompts = random_model(d_model=64, density=0.1), random_prompts(40, 10)
    fast, gates = FastEngine(model, prompts, random_means(model)), random_gates(model, 0.5)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(gradients(fast, gates[None], [torch.arange(40)])[1])
    torch.set_num_threads(1)
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-7)


def test_a_hopeless_loss_is_given_up_and_a_good_one_is_exact() -> None:
    model, prompts = random_model(), random_prompts()
    fast, gates = FastEngine(model, prompts, random_means(model)), random_gates(model, 0.5)
    loss = fast.loss(gates)
    assert fast.loss(gates, limit=loss) == loss
    assert fast.loss(gates, limit=loss / 10) == float("inf")


def test_the_device_decides_between_fast_and_plain() -> None:
    model, prompts = random_model(), random_prompts()
    assert isinstance(engine(model, prompts, random_means(model)), FastEngine)


# --- the tree -----------------------------------------------------------------------------------------------------


def prefixes(prompts) -> list[tuple[int, ...]]:
    rows = zip(prompts.tokens.tolist(), prompts.lengths.tolist(), strict=True)
    return [tuple(row[: i + 1]) for row, length in rows for i in range(length)]


@pytest.mark.parametrize("picked", [None, [3, 0, 8]])
def test_a_forest_holds_every_distinct_prefix_once(picked) -> None:
    prompts = random_prompts()
    tree = PrefixTree.of(prompts, with_positions=False)
    if picked:
        tree, prompts = tree.pairs(np.array(picked)), prompts.pairs(torch.tensor(picked))
    last = tree.tokens[tree.stem]
    rows = [tuple(last[keys[:count]].tolist()) for keys, count in zip(tree.keys, tree.counts, strict=True)]
    assert sorted(rows) == sorted(set(prefixes(prompts)))
    whole = zip(prompts.tokens.tolist(), prompts.lengths.tolist(), strict=True)
    assert [rows[end] for end in tree.ends] == [tuple(row[:length]) for row, length in whole]
    assert np.array_equal(tree.sign, prompts.sign.numpy())
    assert all(keys[count - 1] == row for row, (keys, count) in enumerate(zip(tree.keys, tree.counts, strict=True)))


def test_stems_are_tokens_or_tokens_at_positions() -> None:
    prompts = random_prompts()
    assert sorted(PrefixTree.of(prompts, False).tokens.tolist()) == sorted({p[-1] for p in prefixes(prompts)})
    tree = PrefixTree.of(prompts, True)
    there = {(p[-1], len(p) - 1) for p in prefixes(prompts)}
    assert sorted(zip(tree.tokens.tolist(), tree.positions.tolist(), strict=True)) == sorted(there)


def test_ids_lead_back_to_the_forest_that_was_picked_from() -> None:
    whole = PrefixTree.of(random_prompts(), with_positions=True)
    part = whole.pairs(np.array([9, 1]))
    assert np.array_equal(whole.tokens[part.stem_ids], part.tokens)
    assert np.array_equal(whole.counts[part.prefix_ids], part.counts)
    assert part.prompt_ids.tolist() == [9, 1, 19, 11]


# --- kernels --------------------------------------------------------------------------------------------------------


def test_ranking_a_few_channels_keeps_what_abs_topk_keeps() -> None:
    """Ties too: values from a small set, every pair of channels."""
    from thinwire.kernels import gated

    x = np.random.default_rng(0).integers(-2, 3, (50, 6)).astype(np.float32)
    mean = np.arange(6, dtype=np.float32)
    for k, chosen in itertools.product((1, 3, 5), itertools.combinations(range(6), 2)):
        is_open = np.isin(np.arange(6), chosen)
        expected, _ = gated.gate(x, k, is_open, mean)
        assert np.array_equal(gated.gate_few(x, k, np.array(chosen), mean), expected)
