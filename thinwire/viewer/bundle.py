"""Everything that the interactive page shows, as one JSON value: circuits with their layout and evidence.

Token texts of examples stand once in a table, activations have three digits, positions one decimal.
"""

from dataclasses import asdict
from typing import Any

from thinwire.circuits.anatomy import anatomy
from thinwire.evidence.records import HeadLook, PairEvidence, PromptActivity
from thinwire.viewer.attention import looks_evenly
from thinwire.viewer.draw import channel_words, head_name
from thinwire.viewer.layout import Layout, layout
from thinwire.viewer.remarks import remarks
from thinwire.viewer.rows import row_key
from thinwire.viewer.verdicts import MEANINGS
from thinwire.viewer.view_contract import LiveView, View, ViewCircuit, ViewOutline
from thinwire.viewer.wording import plain, rounded

DIGITS = 3


def _place(place: Layout) -> dict[str, Any]:
    return {
        "width": round(place.width, 1),
        "height": round(place.height, 1),
        "slot": round(place.slot, 2),
        "left": place.left,
        "rows": [[row.key, round(row.y, 1), row.n_nodes] for row in place.rows],
        "nodes": [
            {"key": node.key, "row": row_key(node.site), "x": round(node.x, 1), "y": round(node.y, 1)}
            for node in place.nodes
        ],
        "edges": [[edge.source, edge.target, edge.weight] for edge in place.edges],
        "streams": [[link.channel, *(round(v, 1) for v in (link.x, link.y_bottom, link.y_top))] for link in
                    place.residual_links],
        "heads": [{key: round(value, 1) for key, value in asdict(box).items()} for box in place.heads],
        "answers": [[answer.text, round(answer.x, 1), round(answer.y, 1)] for answer in place.answers],
    }  # fmt: skip


def pair_data(pair: PairEvidence) -> dict[str, Any]:
    """A pair as the page holds it: both sides of a node in one list, patterns without what a token cannot see."""
    return rounded(
        {
            "clean_tokens": pair.clean_tokens,
            "corrupt_tokens": pair.corrupt_tokens,
            "probability": {"model": asdict(pair.model), "circuit": asdict(pair.circuit)},
            "nodes": {key: [node.clean, node.corrupt] for key, node in pair.nodes.items()},
            "attention": {head: _look(look) for head, look in pair.attention.items()},
            "scores": {head: asdict(scores) for head, scores in pair.scores.items()},
            "unembed": pair.unembed,
        },
        DIGITS,
    )


def _look(look: HeadLook) -> dict[str, Any]:
    patterns = [[row[: i + 1] for i, row in enumerate(pattern)] for pattern in (look.clean, look.corrupt)]
    return {"patterns": patterns, "even": looks_evenly(look)}


def own_prompt_data(found: PromptActivity) -> dict[str, Any]:
    """A typed prompt as the page takes it: without the parts that were taken out, and in the whole circuit."""
    data = {**asdict(found), "attention": {head: _look(HeadLook(*looks)) for head, looks in found.attention.items()}}
    return rounded(data, DIGITS)


def outline_entry(found: ViewOutline) -> dict[str, Any]:
    """A circuit that is not measured yet: enough to choose it by."""
    circuit = found.circuit
    words = {"task": circuit.task, "n_nodes": circuit.n_nodes, "n_edges": circuit.n_edges}
    return {**plain(found), "circuit": {**words, "answer_texts": circuit.answer_texts}}


def view_entry(found: ViewCircuit, n_layer: int, d_head: int) -> dict[str, Any]:
    """One circuit of the page with its layout."""
    place = layout(found.circuit, n_layer, d_head)
    entry = plain(found)
    parts = anatomy(found.circuit.nodes, d_head)
    counts = {"n_nodes": found.circuit.n_nodes, "n_edges": found.circuit.n_edges}
    even = {name for pair in found.pairs[:1] for name, look in pair.attention.items() if looks_evenly(look)}
    return {
        **entry,
        **rounded({key: entry[key] for key in ("nodes", "edge_effects", "ladder", "base", "graph")}, DIGITS),
        "circuit": found.circuit.to_dict() | counts,
        "layout": _place(place),
        "head_names": [head_name(box, f"{box.layer}.{box.head}" in even) for box in place.heads],
        "remarks": remarks(found.circuit),
        "words": channel_words({key: node.said for key, node in found.nodes.items()}),
        "anatomy": {**asdict(parts), "words": parts.words},
        "pairs": [pair_data(pair) for pair in found.pairs],
    }


def view_data(view: View | LiveView) -> dict[str, Any]:
    """The page's data."""
    if isinstance(view, LiveView):
        circuits, tokens = [outline_entry(circuit) for circuit in view.circuits], {}
    else:
        models = [view.models[circuit.model] for circuit in view.circuits]
        circuits = [view_entry(one, m.n_layer, m.d_head) for one, m in zip(view.circuits, models, strict=True)]
        tokens = view.tokens
    return {
        "title": view.title,
        "models": plain(view.models),
        "circuits": circuits,
        "tokens": tokens,
        "created": view.created,
        "live": isinstance(view, LiveView),
        "meanings": MEANINGS,
    }
