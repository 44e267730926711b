"""Everything that the interactive page shows, as one JSON value: circuits with their layout and evidence.

What `gather` of `thinwire/workflows/view.py` returns goes in, plain JSON comes out: token texts once in a table,
activations with three digits, positions with one decimal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from thinwire.viewer.layout import Layout, layout
from thinwire.viewer.rows import row_key
from thinwire.viewer.verdicts import judged, outcome, verdict_words


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


def rounded(value: Any, digits: int = 3) -> Any:
    """A copy whose floats have `digits` significant digits."""
    if isinstance(value, Mapping):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def judgement(verification: Mapping[str, Any] | None) -> dict[str, Any]:
    """Verdict, reasons and a row for each test that states an outcome; the plain numbers go along."""
    found = verification or {}
    threshold = {name: test.get("threshold", "") for name, test in judged(found)}
    rows = [
        {"name": name, "outcome": outcome(test), "sentence": str(test.get("sentence") or ""),
         "threshold": str(threshold[name])}
        for name, test in judged(found)
    ]  # fmt: skip
    numbers = {
        name: {key: value for key, value in part.items() if isinstance(value, int | float) and key != "passed"}
        for name, part in found.items()
        if name in ("sufficiency", "necessity") and isinstance(part, Mapping)
    }
    return {
        "verdict": verdict_words(found), "reasons": [str(r) for r in found.get("reasons") or ()], "tests": rows,
        "numbers": numbers,
    }  # fmt: skip


def view_entry(found: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """One circuit of the page: what was found, less what the layout says again, plus the layout."""
    circuit = found["circuit"]
    return {
        "id": found["id"],
        "model": found["model"],
        "settings": found.get("settings", ""),
        "circuit": circuit,
        "layout": _place(layout(circuit, model["n_layer"], model["d_head"])),
        "verification": judgement(found.get("verification")),
        "pairs": rounded(list(found.get("pairs") or ())),
        **rounded({key: found.get(key) or {} for key in ("nodes", "edge_effects", "ladder", "base", "graph")}),
    }


def make_bundle(
    title: str,
    models: Mapping[str, Mapping[str, Any]],
    found: Sequence[Mapping[str, Any]],
    tokens: Mapping[int, str],
    made: Mapping[str, Any],
    live: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The page's data. `models`: id -> shape and losses; `tokens`: id -> text of every token that occurs."""
    return {
        "title": title,
        "models": dict(models),
        "circuits": [view_entry(circuit, models[circuit["model"]]) for circuit in found],
        "tokens": {str(token): text for token, text in tokens.items()},
        "made": dict(made),
        "live": dict(live) if live else None,
    }
