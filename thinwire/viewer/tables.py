"""The tables of the page. Every number keeps its exact value in a `<data>` element."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from thinwire.viewer.markup import Markup, tag
from thinwire.viewer.story import best_loss, is_solved
from thinwire.viewer.wording import count, datum, loss, percent, ratio, seconds

SIDES = (("sparse", "sparse"), ("dense", "dense twin"))
_N_NUMBERS = 8


def number(value: float | None, form: Callable[[float], str], **attributes: object) -> Markup:
    """A cell with a number, or a dash where there is none."""
    shown = tag("span", "–", aria_label="not measured") if value is None else datum(value, form(value))
    return tag("td", shown, class_="number", **attributes)


def scrolling(table: Markup, label: str) -> Markup:
    """A table in a box of its own that scrolls sideways where the screen is narrow."""
    return tag("div", table, class_="scrolling", role="region", aria_label=label, tabindex=0)


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Markup]], numeric_from: int = 1) -> Markup:
    """A plain table; columns from `numeric_from` on are aligned right."""
    cells = [
        tag("th", name, scope="col", class_="number" if i >= numeric_from else None) for i, name in enumerate(head)
    ]  # fmt: skip
    body = tag("tbody", *(tag("tr", *row) for row in rows))
    return scrolling(tag("table", tag("caption", caption), tag("thead", tag("tr", *cells)), body), caption)


def row_head(words: object) -> Markup:
    return tag("th", words, scope="row")


def _measured(part: Mapping[str, Any], cell: Mapping[str, Any]) -> list[Markup]:
    need = (part["verification"] or {}).get("necessity", {})
    suff = (part["verification"] or {}).get("sufficiency", {})
    return [
        number(cell["n_nodes"], count),
        number(cell["n_edges"], count),
        number(cell["heldout_loss"], loss),
        number(cell["heldout_accuracy"], percent),
        number(suff.get("kl"), loss),
        number(cell["necessity_loss"], loss),
        number(cell["random_loss"], loss),
        number(need.get("edges_loss"), loss),
    ]


def _main_row(task: Mapping[str, Any], side: str, cell: Mapping[str, Any] | None) -> list[Markup]:
    part = task[side]
    if not is_solved(part) or cell is None:
        return [tag("td", f"not solved (best loss {loss(best_loss(part['circuit']))})", colspan=_N_NUMBERS, class_="unsolved")]
    return _measured(part, cell)


def _edge_ratio(cells: Mapping[str, Mapping[str, Any] | None]) -> float | None:
    sizes = [(cells.get(side) or {}).get("n_edges") for side, _ in SIDES]
    return None if None in sizes else max(sizes[1] or 1, 1) / max(sizes[0] or 1, 1)


def _task_body(task: Mapping[str, Any], cells: Mapping[str, Mapping[str, Any] | None]) -> Markup:
    value = _edge_ratio(cells)
    rows = []
    for i, (side, name) in enumerate(SIDES):
        edge = [tag("th", tag("a", task["name"], href=f"#task-{task['name']}"), scope="rowgroup", rowspan=2)] if i == 0 else []
        last = [number(value, ratio, rowspan=2)] if i == 0 else []
        row = [*edge, tag("th", name, scope="row", class_="side"), *_main_row(task, side, cells.get(side)), *last]
        rows.append(tag("tr", *row, class_=side))
    size = (cells.get("sparse") or {}).get("n_edges")
    return tag("tbody", *rows, data_task=task["name"], data_edges=size, data_ratio=value)


def _group_heads() -> Markup:
    groups = [("", 2), ("size", 2), ("the circuit alone", 3), ("the model without it", 3), ("", 1)]
    return tag("tr", *(tag("th" if name else "td", name, colspan=n, scope="colgroup" if name else None) for name, n in groups),
               class_="groups")  # fmt: skip


def main_table(report: Mapping[str, Any]) -> Markup:
    """Tasks x {sparse, dense}, and under it the geometric means."""
    heads = [("Task", "task"), ("Model", None), ("Nodes", None), ("Edges", "edges"), ("Loss", None), ("Accuracy", None),
             ("KL", None), ("Loss", None), ("Random", None), ("Edges cut", None), ("Dense / sparse", "ratio")]  # fmt: skip
    head = [
        tag("th", name, scope="col", class_="number" if i > 1 else None, data_sort=key)
        for i, (name, key) in enumerate(heads)
    ]  # fmt: skip
    cells = report["summary"]["tasks"]
    bodies = [_task_body(task, cells.get(task["name"], {})) for task in report["tasks"]]
    caption = "Circuits of the sparse model and of its dense twin, on test pairs"
    inside = [tag("caption", caption), tag("thead", _group_heads(), tag("tr", *head)), *bodies, _means(report["summary"])]
    return scrolling(tag("table", *inside, id="main-table", class_="main"), caption)


def _means(summary: Mapping[str, Any]) -> Markup:
    names, means = summary["tasks_compared"], summary["geomean_edges"]
    over = f"Geometric mean of edges over {', '.join(names)}" if names else "Geometric mean: no task is solved by both"
    rows = []
    for i, (side, name) in enumerate(SIDES):
        edge = [tag("th", over, scope="rowgroup", rowspan=2, class_="over")] if i == 0 else []
        last = [number(summary["edge_ratio"], ratio, rowspan=2)] if i == 0 else []
        cells = [*edge, tag("th", name, scope="row", class_="side"), tag("td"), number(means[side], ratio)]
        rows.append(tag("tr", *cells, tag("td", colspan=6), *last, class_=side))
    return tag("tfoot", *rows)


def models_table(models: Mapping[str, Any]) -> Markup:
    """The two models side by side."""
    rows: list[tuple[str, str, Callable[[Any], str] | None]] = [
        ("recipe", "recipe", None), ("layers", "n_layer", count), ("width (channels)", "d_model", count),
        ("head width", "d_head", count), ("context (tokens)", "context", count), ("density", "density", percent),
        ("parameters", "n_parameters", count), ("of them nonzero", "n_nonzero", count),
        ("training tokens", "n_tokens", count), ("held-out loss", "heldout_loss", loss),
        ("fingerprint", "fingerprint", lambda value: str(value)[:12]),
    ]  # fmt: skip
    body = []
    for name, key, form in rows:
        values = [models[side][key] for side, _ in SIDES]
        plain = key in ("recipe", "fingerprint")
        cells = [tag("td", form(v) if form else v, class_="number") if plain else number(v, form or str) for v in values]
        body.append([row_head(name), *cells])
    return table("The two models", ["", *(models[side]["label"] for side, _ in SIDES)], body)


def twins_table(report: Mapping[str, Any]) -> Markup:
    """The dense widths that were tried."""
    target = report["summary"]["heldout_loss"]["sparse"]
    rows = [
        [row_head(f"width {twin['d_model']}"), number(twin["heldout_loss"], loss),
         number(twin["heldout_loss"] - target, lambda v: f"{v:+.3f}".replace("-", "−")), tag("td", "chosen" if twin["chosen"] else "")]
        for twin in report["twins_tried"]
    ]  # fmt: skip
    return table("Dense twins tried", ["Width", "Held-out loss", "Minus sparse", "Chosen"], rows)


def selection_table(selection: Mapping[str, Any]) -> Markup:
    """Every task with the whole models' scores, before any pruning."""
    rows = []
    for task in selection["tasks"]:
        verdict = task["unavailable"] or ("selected" if task["selected"] else "solved" if task["solved"] else "not solved")
        numbers = [number(task[f"{side}_accuracy"], percent) for side, _ in SIDES]
        numbers += [number(task[f"{side}_loss"], loss) for side, _ in SIDES]
        rows.append([row_head(task["name"]), *numbers, tag("td", verdict, class_="words")])
    head = ["Task", "Accuracy, sparse", "Accuracy, dense", "Loss, sparse", "Loss, dense", "Verdict"]
    return table("Tasks, scored by the whole models", head, rows)


def stages_table(report: Mapping[str, Any]) -> Markup:
    """Seconds spent beside the budget of each stage."""
    rows = [
        [row_head(stage["name"]), number(stage["budget_seconds"], seconds), number(stage["seconds"], seconds)]
        for stage in report["stages"]
    ]  # fmt: skip
    rows.append([row_head("whole run"), tag("td"), number(report["summary"]["seconds"], seconds)])
    return table("Time spent", ["Stage", "Budget", "Spent"], rows)


def facts(values: Mapping[str, Any]) -> Markup:
    """Names and values as a definition list."""
    return tag("dl", *(tag("div", tag("dt", str(key)), tag("dd", str(value))) for key, value in values.items()), class_="facts")
