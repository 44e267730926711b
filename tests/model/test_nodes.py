"""The node space: three ways to write a set of nodes, and no name that the model does not have."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_builders import SMALL, sparse_model

from thinwire.circuits.ablation import ablate, isolate, remove_edges
from thinwire.circuits.graph import Edge
from thinwire.errors import UserError
from thinwire.model.hooks import EdgeMask, hooks_at
from thinwire.model.nodes import gathered, list_nodes, node_space
from thinwire.model.sites import head_of, is_in_head, is_read, is_write, layer_of, node_key, parse_key, part_of

SPACE = node_space(SMALL)  # 2 layers of 8 channels and 16 neurons: embed 8, 2 x (5 x 8 + 8 + 16 + 8), final 8
TOKENS = torch.tensor([[3, 1, 4]])


def test_nodes_are_counted_site_after_site() -> None:
    assert SPACE.n_nodes == 8 + 2 * (7 * 8 + 16) + 8
    assert SPACE.offsets["0.attn.q"] == 16 and SPACE.offsets["0.mlp.neuron"] == 56
    assert SPACE.offsets["final"] == SPACE.n_nodes - 8


@given(st.sets(st.integers(0, SPACE.n_nodes - 1)))
def test_lists_masks_and_vectors_say_the_same(places: set[int]) -> None:
    flat = torch.zeros(SPACE.n_nodes)
    flat[list(places)] = 1
    nodes = SPACE.nodes(flat)
    assert torch.equal(SPACE.mask(nodes), flat.bool())
    assert torch.equal(SPACE.flat(SPACE.by_site(flat)), flat)
    assert torch.equal(SPACE.flat(SPACE.masks(nodes)), flat.bool())
    assert SPACE.places(nodes).tolist() == sorted(places)
    assert [SPACE.node(place) for place in sorted(places)] == [(s, c) for s, cs in nodes.items() for c in cs]


def test_the_order_of_a_mapping_does_not_matter() -> None:
    by_site = SPACE.by_site(torch.arange(SPACE.n_nodes))
    shuffled = dict(sorted(by_site.items(), reverse=True))
    assert list(shuffled) != list(by_site)
    assert torch.equal(SPACE.flat(shuffled), torch.arange(SPACE.n_nodes))


def test_a_site_too_few_or_too_many_is_an_error() -> None:
    by_site = SPACE.by_site(torch.arange(SPACE.n_nodes))
    with pytest.raises(UserError, match=r"values for final are missing"):
        SPACE.flat({site: x for site, x in by_site.items() if site != "final"})
    with pytest.raises(UserError, match=r"no node site 'finale'; did you mean final\?"):
        SPACE.flat({**by_site, "finale": torch.zeros(8)})


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ({"0.mlp.neurons": [0]}, r"no node site '0\.mlp\.neurons'; did you mean 0\.mlp\.neuron\?"),
        ({"2.attn.q": [0]}, r"no node site '2\.attn\.q'"),
        ({"embed": [8]}, r"embed has no channel 8; its channels are 0 to 7"),
        ({"embed": [-1]}, r"embed has no channel -1"),
        ({"embed": [True]}, r"embed has no channel True"),
    ],
)
def test_unknown_nodes_are_errors_wherever_nodes_are_named(nodes, message: str) -> None:
    model, means = sparse_model(), {site: torch.zeros(width) for site, width in SPACE.widths.items()}
    for name_them in (isolate, ablate):
        with pytest.raises(UserError, match=message):
            name_them(model, nodes, means)


def test_unknown_matrices_edges_and_hook_sites_are_errors() -> None:
    model, means = sparse_model(), {site: torch.zeros(width) for site, width in SPACE.widths.items()}
    with pytest.raises(UserError, match=r"no weight matrix leads from embed to 0\.attn\.in; none does from there"):
        remove_edges(model, [Edge("embed", 0, "0.attn.in", 0, 1.0)], means)
    with pytest.raises(UserError, match=r"from there to 0\.attn\.q, 0\.attn\.k, 0\.attn\.v"):
        SPACE.matrix("0.attn.in", "0.attn.out")
    with pytest.raises(UserError, match=r"0\.attn\.q has no channel 99999"):
        remove_edges(model, [Edge("0.attn.in", 0, "0.attn.q", 99999, 1.0)], means)
    mask = EdgeMask(torch.ones(8, 8, dtype=torch.bool), torch.zeros(8))
    with pytest.raises(UserError, match=r"no matrix 'blocks\.0\.attn\.query\.weight' that carries edges"):
        model(TOKENS, edges={"blocks.0.attn.query.weight": mask})
    with pytest.raises(UserError, match=r"hooks are never called at '0\.attn\.patterns'; did you mean"):
        hooks_at(model.space, {"0.attn.patterns": torch.zeros_like})


def test_hooks_at_named_places_change_these_alone() -> None:
    model, seen = sparse_model(), {}
    hook = hooks_at(model.space, {"0.attn.in": torch.zeros_like, "final": lambda x: seen.setdefault("final", x)})
    assert not torch.equal(model(TOKENS, hook), model(TOKENS))
    assert seen["final"].shape == (1, 3, 8)


def test_listed_nodes_are_gathered_again() -> None:
    nodes = {"0.attn.v": [3, 1], "embed": [2]}
    assert list_nodes(nodes) == [("0.attn.v", 3), ("0.attn.v", 1), ("embed", 2)]
    assert gathered(list_nodes(nodes)) == nodes
    assert gathered([("embed", 2), ("final", 0), ("embed", 1)]) == {"embed": [2, 1], "final": [0]}


def test_what_a_site_is_follows_from_its_name() -> None:
    assert [site for site in SPACE.sites if is_read(site)] == [
        *("0.attn.in", "0.mlp.in", "1.attn.in", "1.mlp.in", "final")
    ]
    assert [site for site in SPACE.sites if is_write(site)] == [
        *("embed", "0.attn.out", "0.mlp.out", "1.attn.out", "1.mlp.out")
    ]
    assert [site for site in SPACE.sites if is_in_head(site)] == [f"{i}.attn.{x}" for i in range(2) for x in "qkv"]
    assert (layer_of("1.mlp.in"), layer_of("embed"), part_of("1.mlp.in")) == (1, None, "mlp.in")
    assert head_of("1.attn.v", 7, d_head=4) == (1, 1)


@pytest.mark.parametrize(("site", "channel"), [("embed", 0), ("0.mlp.neuron", 412)])
def test_a_node_as_a_string_comes_back(site: str, channel: int) -> None:
    assert parse_key(node_key(site, channel)) == (site, channel)


@pytest.mark.parametrize("key", ["embed", "embed:", "embed:x", "embed:-1", "embed:²"])
def test_what_is_no_node_is_refused(key: str) -> None:
    with pytest.raises(UserError, match="is no node; write it as SITE:CHANNEL"):
        parse_key(key)
