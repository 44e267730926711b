"""The drawing and the charts state the circuit's numbers, and no meaning hangs on colour alone."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from report_fixture import CLEAN, CORRUPT, QUOTE_EDGES, evidence, make_report, random_circuit, with_part

from thinwire.evidence.records import HeadLook, NodeActivity
from thinwire.viewer.charts import Axis, Series, line_chart
from thinwire.viewer.contract import TaskModel
from thinwire.viewer.contrast import contrast, differing_tokens
from thinwire.viewer.draw import draw_svg
from thinwire.viewer.reading import reading
from thinwire.viewer.remarks import NOT_READ, NOT_WRITTEN, NOTHING_IN, NOTHING_OUT, ONLY_KEY, ONLY_QUERY, remarks
from thinwire.viewer.strips import attention_map, attention_row, bar_strip
from thinwire.viewer.task_parts import attention
from thinwire.viewer.wording import signed

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def quote() -> TaskModel:
    return make_report(n_tasks=1).tasks[0].models["sparse"]


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def edges_of(svg: ElementTree.Element) -> list[ElementTree.Element]:
    found = svg.iter(f"{SVG}path")
    return [path for path in found if "tw-edge" in path.get("class", "") and path.get("data-target")]


# --- drawing --------------------------------------------------------------------------------------------------------


def test_every_edge_is_drawn_with_width_and_sign(quote: TaskModel) -> None:
    svg = parsed(draw_svg(quote.circuit, quote.evidence, 2, 16))
    lines = {(e.get("data-source"), e.get("data-target")): e for e in edges_of(svg)}
    assert len(lines) == len(QUOTE_EDGES)
    widest = max(abs(weight) for *_, weight in QUOTE_EDGES)
    for a, s, b, t, weight in QUOTE_EDGES:
        line = lines[f"{a}:{s}", f"{b}:{t}"]
        assert ("tw-positive" if weight > 0 else "tw-negative") in line.get("class", "")
        assert float(line.get("stroke-width", 0)) == pytest.approx(max(6 * abs(weight) / widest, 0.7), abs=0.01)
        title = line.find(f"{SVG}title")
        assert title is not None and title.text == f"{a}:{s} → {b}:{t}, weight {signed(weight)}"


def test_sign_is_told_by_dashes_too() -> None:
    style = draw_svg(random_circuit("t", 64, 20, 20, 0), None, 2, 16)
    assert re.search(r"\.tw-negative \{[^}]*stroke-dasharray", style)


def test_large_circuits_say_what_is_hidden() -> None:
    circuit = random_circuit("t", 64, 160, 900, 0)
    svg = draw_svg(circuit, None, 2, 16, max_edges=100)
    drawn = edges_of(parsed(svg))
    assert len(drawn) == 100
    hidden = len(circuit.edges) - 100
    assert f"{hidden:,} are hidden" in svg
    assert f"The {hidden:,} weakest edges are not drawn." in svg
    weakest_drawn = sorted((abs(edge[4]) for edge in circuit.edges), reverse=True)[99]
    names = {(e.get("data-source"), e.get("data-target")) for e in drawn}
    strong = {(f"{a}:{s}", f"{b}:{t}") for a, s, b, t, w in circuit.edges if abs(w) > weakest_drawn}
    assert strong <= names


def test_answers_show_the_circuits_probabilities(quote: TaskModel) -> None:
    words = " ".join(t.text or "" for t in parsed(draw_svg(quote.circuit, quote.evidence, 2, 16)).iter())
    assert "clean prompt: 91.0\u00a0%" in words
    assert "corrupt prompt: 87.0\u00a0%" in words  # 1 - 0.13


def test_a_circuit_without_evidence_is_drawn_from_its_edges(quote: TaskModel) -> None:
    svg = parsed(draw_svg(quote.circuit, None, 2, 16))
    assert len(edges_of(svg)) == len(QUOTE_EDGES)
    assert "6 unembedding weights" in ElementTree.tostring(svg, "unicode")


def test_a_drawing_has_a_name_and_a_description(quote: TaskModel) -> None:
    svg = parsed(draw_svg(quote.circuit, None, 2, 16, name="x"))
    assert svg.get("role") == "img"
    assert svg.get("aria-labelledby") == "x-title x-desc"
    described = {e.get("id"): e.text for e in svg.iter() if e.get("id")}
    assert described["x-title"] == "Circuit for single_double_quote"
    assert (described["x-desc"] or "").startswith("20 edges between 25 nodes")


# --- contrast and reading -------------------------------------------------------------------------------------------


def test_contrast_finds_the_token_that_tells_the_prompts_apart() -> None:
    at = contrast(NodeActivity([0.0, 2.0, 1.0], [0.0, -1.0, 1.0], 0.0))
    assert (at.position, at.clean, at.corrupt, at.share) == (1, 2.0, -1.0, 1.0)
    assert contrast(NodeActivity([0.0], [0.0], 0.0)).share == 0.0
    assert contrast(NodeActivity([1.0, 4.0], [3.0], 0.0)).position == -1  # unequal lengths: the last token


def test_differing_tokens() -> None:
    assert differing_tokens(CLEAN, CORRUPT) == [1]
    assert differing_tokens(["a"], ["a", "b"]) == []


def test_the_reading_names_the_head_and_its_weights(quote: TaskModel) -> None:
    steps = reading(quote.circuit, quote.evidence, 2, 16)
    assert [s.title for s in steps] == ["The embedding", "Layer 0, MLP", "Layer 1, attention", "The answer"]
    words = {step.title: " ".join(step.sentences) for step in steps}
    assert "Head 3 keeps query channel 52, key channel 50 and value channels 49 and 57." in words["Layer 1, attention"]
    assert "41 (+1.84), 87 (−0.91) and 130 (+0.22)" in words["Layer 0, MLP"]
    nodes = {node for step in steps for node in step.nodes}
    assert nodes == {f"{site}:{c}" for site, channels in quote.circuit.nodes.items() for c in channels}


def test_what_the_answer_is_read_from_is_told_at_the_last_token(quote: TaskModel) -> None:
    """A channel after the last norm may differ most somewhere else; the answer is read at the last token."""
    assert quote.evidence is not None
    spread = NodeActivity([0.0, 9.0] + [0.0] * 4 + [3.0], [0.0, -9.0] + [0.0] * 4 + [-2.0], 0.0)
    quiet = NodeActivity([0.0] * 7, [0.0] * 7, 0.0)
    nodes = {**quote.evidence.pair.nodes, **{f"final:{c}": quiet for c in (12, 151, 203)}, "final:77": spread}
    found = replace(quote.evidence, pair=replace(quote.evidence.pair, nodes=nodes))
    said = " ".join(reading(quote.circuit, found, 2, 16)[-1].sentences)
    assert "at the last token" in said
    assert "There channel 77 tells the prompts apart most: +3.00 on the clean and −2.00 on the corrupt prompt." in said
    assert "9.00" not in said


def test_a_head_that_looks_at_all_tokens_alike_is_said_to_average(quote: TaskModel) -> None:
    assert quote.evidence is not None
    rows = [[1 / (q + 1)] * (q + 1) + [0.0] * (6 - q) for q in range(7)]
    even = replace(quote.evidence.pair, attention={"1.3": HeadLook(rows, rows)})
    values = {"1.attn.v:49": NodeActivity([0.7] * 7, [0.0] * 6 + [-1.4], 0.0)}
    even = replace(even, nodes={**even.nodes, **values})
    found = replace(quote.evidence, pair=even)
    said = " ".join(s for step in reading(quote.circuit, found, 2, 16) for s in step.sentences)
    assert "It looks at all tokens alike (14.3\u00a0% each from the last token" in said
    assert "Through value channel 49 it brings +0.70 (clean) and −0.20 (corrupt) to the last token." in said
    assert "attends most" not in said
    drawn = draw_svg(quote.circuit, found, 2, 16)
    assert "head 3: average" in drawn and "looks at all tokens alike" in drawn
    task = with_part(make_report(n_tasks=1), 0, "sparse", evidence=found).tasks[0]
    shown = attention(task, "sparse")
    assert shown is not None and "they average: layer 1 head 3" in shown and "<svg" not in shown


def test_nodes_that_lead_nowhere_are_explained(quote: TaskModel) -> None:
    """By hand: query 52 and key 50 are halves of different products."""
    said = remarks(quote.circuit)
    assert said["1.attn.q:52"] == [ONLY_QUERY] and said["1.attn.k:50"] == [ONLY_KEY]
    assert "0.mlp.neuron:412" not in said and "1.attn.v:49" not in said
    lonely = replace(quote.circuit, nodes={**quote.circuit.nodes, "1.mlp.out": [222]})
    assert remarks(lonely)["1.mlp.out:222"] == [NOTHING_IN, NOT_READ]
    dead_end = replace(quote.circuit, nodes={**quote.circuit.nodes, "0.attn.in": [251]})
    assert remarks(dead_end)["0.attn.in:251"] == [NOTHING_OUT, NOT_WRITTEN]
    steps = {step.title: " ".join(step.sentences) for step in reading(quote.circuit, quote.evidence, 2, 16)}
    assert "For key channel 50 no query is kept" in steps["Layer 1, attention"]
    assert "tw-lone" in draw_svg(quote.circuit, None, 2, 16)


def test_embedding_channels_carry_the_token_that_weighs_most(quote: TaskModel) -> None:
    words = [
        e.text for e in parsed(draw_svg(quote.circuit, quote.evidence, 2, 16)).iter() if e.get("class") == "tw-word"
    ]
    assert words == ['"', '"', '"']


def test_the_reading_escapes_tokens() -> None:
    circuit = random_circuit("t", 64, 40, 60, 1)
    tokens = ["<b>", "</script>", "&"]
    found = evidence(circuit, 16, tokens, ["<i>", "</script>", "&"], 0)
    words = " ".join(s for step in reading(circuit, found, 2, 16) for s in step.sentences)
    assert "<b>" not in words and "</script>" not in words
    assert "&lt;b&gt;" in words


# --- strips and patterns --------------------------------------------------------------------------------------------


def test_bars_are_as_high_as_the_activation() -> None:
    svg = parsed(f'<svg xmlns="http://www.w3.org/2000/svg">{bar_strip([2.0, -1.0, 0.0], ["a", "b", "c"], 2.0)}</svg>')
    up, down = (p.get("d") for p in svg.iter(f"{SVG}path"))
    assert up == "M1 13v-13.0h7V13z"  # full height at token 0
    assert down == "M10 13v6.5h7V13z"  # half of it, downwards, at token 1
    title = next(svg.iter(f"{SVG}title"))
    assert title.text == "a +2.00  b −1.00  c 0"


def test_attention_shares_are_told_in_numbers() -> None:
    row = attention_row([0.7, 0.26, 0.04], ["x", "<", "y"])
    assert re.findall(r"(\d+)%", row) == ["70", "26"]
    assert "&lt;" in row


def test_an_attention_map_has_no_future() -> None:
    svg = attention_map([[1.0, 0.9], [0.5, 0.5]], ["a", "b"], "head")
    assert "M14 0" not in svg  # key 1 is after query 0, whatever the pattern says


# --- charts ---------------------------------------------------------------------------------------------------------


def test_an_axis_maps_linearly_or_by_logarithm() -> None:
    assert Axis("x", 0, 10, 100, 200).at(5) == 150
    assert Axis("x", 1, 100, 0, 200, log=True).at(10) == pytest.approx(100)
    assert Axis("x", 0, 10, 100, 200).at(50) == 200  # outside: on the border


def test_ticks_are_round() -> None:
    assert Axis("x", 0, 10, 0, 1).ticks() == [0, 2, 4, 6, 8, 10]
    assert Axis("x", 1, 1000, 0, 1, log=True).ticks() == pytest.approx([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000])


def test_a_chart_of_one_point_or_none_is_drawn() -> None:
    for points in ([], [(3.0, 2.0)]):
        ElementTree.fromstring(line_chart([Series("a", "sparse", points)], "x", "y", "title"))


def test_a_chart_marks_and_names_points() -> None:
    svg = line_chart([Series("a<", "sparse", [(0, 1), (2, 3)], [(2, 3)])], "x", "y", "t", target=2.0)
    assert "target 2" in svg
    assert "a&lt;: 3.000" in svg
