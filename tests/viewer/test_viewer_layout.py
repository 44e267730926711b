"""Where things stand: rows, columns, order; the same circuit always gives the same picture."""

from dataclasses import replace

import numpy as np
import pytest
from report_fixture import QUOTE_EDGES, QUOTE_NODES, make_report, random_circuit

from thinwire.circuits.graph import Edge
from thinwire.errors import UserError
from thinwire.model.sites import is_residual
from thinwire.viewer.layout import Layout, layout
from thinwire.viewer.ordering import Links, place
from thinwire.viewer.rows import row_heights, row_key, row_keys

QUOTE = make_report(n_tasks=1).tasks[0].models["sparse"].circuit


def quote() -> Layout:
    return layout(QUOTE, n_layer=2, d_head=16)


# --- rows -----------------------------------------------------------------------------------------------------------


def test_a_heads_three_parts_share_one_row() -> None:
    assert {row_key(f"1.attn.{part}") for part in "qkv"} == {"1.attn.qkv"}
    assert row_key("1.attn.in") == "1.attn.in"
    assert row_key("embed") == "embed"


def test_rows_rise_from_embedding_to_answers() -> None:
    keys = row_keys(2)
    assert (keys[0], keys[-2], keys[-1]) == ("embed", "final", "answers")
    assert len(keys) == 2 * 6 + 3
    heights = list(row_heights(keys, dict.fromkeys(keys, 1)).values())
    assert heights[0] == 0
    assert all(low < high for low, high in zip(heights, heights[1:], strict=False))


def test_a_block_that_keeps_nothing_is_squeezed() -> None:
    keys = row_keys(1)
    full = row_heights(keys, dict.fromkeys(keys, 1))["answers"]
    empty = row_heights(keys, dict.fromkeys(keys, 1) | {f"0.attn.{s}": 0 for s in ("in", "qkv", "out")})["answers"]
    assert empty < full - 80


# --- layout ---------------------------------------------------------------------------------------------------------


def test_every_node_and_edge_has_a_place() -> None:
    drawn = quote()
    kept = {f"{site}:{channel}" for site, channels in QUOTE_NODES.items() for channel in channels}
    assert {node.key for node in drawn.nodes} == kept
    ends = [
        (drawn.nodes[e.source].site, drawn.nodes[e.source].channel, drawn.nodes[e.target].site,
         drawn.nodes[e.target].channel, e.weight)
        for e in drawn.edges
    ]  # fmt: skip
    assert ends == QUOTE_EDGES


def test_edges_point_upwards_and_nodes_stay_inside() -> None:
    drawn = quote()
    assert all(drawn.nodes[e.target].y < drawn.nodes[e.source].y for e in drawn.edges)
    assert all(drawn.left < node.x < drawn.width and 0 < node.y < drawn.height for node in drawn.nodes)
    assert all(answer.y < min(node.y for node in drawn.nodes) for answer in drawn.answers)


def test_a_residual_channel_is_one_column() -> None:
    columns: dict[int, set[float]] = {}
    for node in quote().nodes:
        if is_residual(node.site):
            columns.setdefault(node.channel, set()).add(node.x)
    assert {len(xs) for xs in columns.values()} == {1}
    assert len({x for xs in columns.values() for x in xs}) == len(columns)  # and every channel has its own


def test_residual_lines_run_from_first_write_to_last_read() -> None:
    drawn = quote()
    links = {link.channel: link for link in drawn.residual_links}
    # 41, 87, 130 come from the embedding; 12, 77, 151, 203 are written later and read by `final`.
    assert set(links) == {41, 87, 130, 12, 77, 151, 203}
    assert links[41].y_bottom == drawn.row("embed").y
    assert links[41].y_top == drawn.row("0.mlp.in").y
    assert links[12].y_top == drawn.row("final").y


def test_a_heads_channels_stand_in_its_box() -> None:
    drawn = quote()
    assert [(box.layer, box.head) for box in drawn.heads] == [(1, 3)]  # channels 49 to 57 of width 16
    box = drawn.heads[0]
    inside = [n for n in drawn.nodes if n.site in ("1.attn.q", "1.attn.k", "1.attn.v")]
    assert all(box.x < n.x < box.x + box.width and box.y < n.y < box.y + box.height for n in inside)
    order = [n.site[-1] for n in sorted(inside, key=lambda n: n.x)]
    assert order == ["q", "k", "v", "v"]


def test_nodes_of_a_row_do_not_overlap() -> None:
    drawn = layout(random_circuit("t", 64, 120, 400, 3), n_layer=2, d_head=16)
    for row in drawn.rows:
        xs = sorted(n.x for n in drawn.nodes if row_key(n.site) == row.key)
        assert all(b - a > 0.99 * drawn.slot for a, b in zip(xs, xs[1:], strict=False)), row.key


def test_layout_is_deterministic_and_blind_to_the_order_of_edges() -> None:
    assert quote() == quote()
    turned = layout(replace(QUOTE, edges=QUOTE.edges[::-1]), n_layer=2, d_head=16)
    assert [n.x for n in turned.nodes] == pytest.approx([n.x for n in quote().nodes])


def test_order_by_barycentre_shortens_the_edges() -> None:
    circuit = random_circuit("t", 64, 120, 200, 5)
    drawn = layout(circuit, n_layer=2, d_head=16)
    rng = np.random.default_rng(0)
    xs = np.array([n.x for n in drawn.nodes])
    links = Links(
        np.array([e.source for e in drawn.edges]),
        np.array([e.target for e in drawn.edges]),
        np.abs([e.weight for e in drawn.edges]),
    )
    shuffled = [links.cost(rng.permutation(xs)) for _ in range(20)]
    assert links.cost(xs) < 0.7 * min(shuffled)


def test_an_empty_circuit_can_be_drawn() -> None:
    drawn = layout(replace(QUOTE, nodes={}, edges=[]), n_layer=1, d_head=16)
    assert (drawn.nodes, drawn.edges, drawn.heads) == ((), (), ())


def test_a_site_of_a_missing_layer_is_refused() -> None:
    with pytest.raises(UserError, match="1.attn.in that 1 layers do not have"):
        layout(QUOTE, n_layer=1, d_head=16)


def test_an_edge_to_a_node_that_is_not_kept_is_refused() -> None:
    with pytest.raises(UserError, match="does not keep"):
        layout(replace(QUOTE, edges=[Edge("0.mlp.in", 5, "0.mlp.neuron", 412, 1.0)]), n_layer=2, d_head=16)


# --- positions ------------------------------------------------------------------------------------------------------


def test_place_leaves_room_that_is_there() -> None:
    assert place(np.array([1.0, 5.0]), np.ones(2), 0.0, 10.0).tolist() == [1.0, 5.0]


def test_place_separates_what_wants_the_same_spot() -> None:
    # Both want 3: least squares puts them half a slot to either side.
    assert place(np.array([3.0, 3.0]), np.ones(2), 0.0, 10.0).tolist() == [2.5, 3.5]


def test_place_keeps_to_the_borders() -> None:
    assert place(np.array([-4.0, 20.0]), np.ones(2), 0.0, 10.0).tolist() == [0.5, 9.5]


def test_pull_is_the_weighted_sum_of_neighbours() -> None:
    links = Links(np.array([0, 1]), np.array([2, 2]), np.array([1.0, 3.0]))
    moment, weight = links.pull(np.array([10.0, 20.0, 0.0]))
    assert moment.tolist() == [0.0, 0.0, 70.0]  # 1 x 10 + 3 x 20
    assert weight.tolist() == [1.0, 3.0, 4.0]
    assert links.cost(np.array([10.0, 20.0, 0.0])) == 70.0
