"""The tables of the page. Every number keeps its exact value in a `<data>` element."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from thinwire.viewer.markup import Markup, tag
from thinwire.viewer.sides import NAMES, best_loss, is_solved, present
from thinwire.viewer.wording import Number, count, datum, listing, loss, percent, ratio, seconds

_GROUPS = (("", 2), ("size", 2), ("the circuit alone", 3), ("loss of the whole model", 4))
_COLUMNS = (
    "Task", "Model", "Nodes", "Edges", "Loss", "Accuracy", "KL", "intact", "nodes out", "random out", "edges out",
)  # fmt: skip
_SORTED = {"Task": "task", "Edges": "edges", "Dense / sparse": "ratio"}
_N_NUMBERS = 9


def number(value: Number | None, form: Callable[[Any], str], **attributes: object) -> Markup:
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
        number(need.get("model_loss"), loss),
        number(cell["necessity_loss"], loss),
        _random(cell["random_loss"], need.get("random_losses", ())),
        number(need.get("edges_loss"), loss),
    ]


def _random(mean: Number | None, losses: Sequence[Number]) -> Markup:
    """The mean over the random sets, and the largest of them."""
    if mean is None or not losses:
        return number(mean, loss)
    largest = tag("span", " ≤ ", datum(max(losses), loss(max(losses))), class_="largest")
    return tag("td", datum(mean, loss(mean)), largest, class_="number")


def _main_row(part: Mapping[str, Any], cell: Mapping[str, Any] | None) -> list[Markup]:
    if not is_solved(part) or cell is None:
        words = f"not solved (best loss {loss(best_loss(part['circuit']))})"
        return [tag("td", words, colspan=_N_NUMBERS, class_="unsolved")]
    return _measured(part, cell)


def _edge_ratio(cells: Mapping[str, Mapping[str, Any] | None]) -> Number | None:
    sparse, dense = ((cells.get(side) or {}).get("n_edges") for side in NAMES)
    return None if sparse is None or dense is None else max(dense, 1) / max(sparse, 1)


def _rows(head: Markup, sides: Sequence[str], cells: Mapping[str, list[Markup]], value: Number | None) -> list[Markup]:
    """One row per model; the head on the left and the ratio on the right span them."""
    rows = []
    for i, side in enumerate(sides):
        first = [head] if i == 0 else []
        last = [number(value, ratio, rowspan=2)] if i == 0 and len(sides) == 2 else []
        name = tag("th", side, scope="row", class_="side")
        rows.append(tag("tr", *first, name, *cells[side], *last, class_=side))
    return rows


def _task_body(task: Mapping[str, Any], measured: Mapping[str, Any], sides: Sequence[str]) -> Markup:
    link = tag("a", task["name"], href=f"#task-{task['name']}")
    head = tag("th", link, scope="rowgroup", rowspan=len(sides))
    cells = {side: _main_row(task[side], measured.get(side)) for side in sides}
    value, size = _edge_ratio(measured), (measured.get("sparse") or {}).get("n_edges")
    return tag("tbody", *_rows(head, sides, cells, value), data_task=task["name"], data_edges=size, data_ratio=value)


def _heads(paired: bool) -> Markup:
    groups = [*_GROUPS, ("", 1)] if paired else _GROUPS
    names = [*_COLUMNS, "Dense / sparse"] if paired else _COLUMNS
    first = [tag("th", n, colspan=w, scope="colgroup") if n else tag("td", colspan=w) for n, w in groups]
    second = [
        tag("th", name, scope="col", class_="number" if i > 1 else None, data_sort=_SORTED.get(name))
        for i, name in enumerate(names)
    ]
    return tag("thead", tag("tr", *first, class_="groups"), tag("tr", *second))


def main_table(report: Mapping[str, Any]) -> Markup:
    """Tasks x {sparse, dense}, and under it the geometric means."""
    sides, cells = present(report["models"]), report["summary"]["tasks"]
    bodies = [_task_body(task, cells.get(task["name"], {}), present(task)) for task in report["tasks"]]
    compared = report["summary"]["tasks_compared"]
    caption = "Circuits, measured on test pairs. "
    caption += f"Geometric means are over {listing(compared)}." if compared else "There is no task to take means over."
    parts = [tag("caption", caption), _heads(len(sides) == 2), *bodies, _means(report["summary"], sides)]
    return scrolling(tag("table", *parts, id="main-table", class_="main"), caption)


def _means(summary: Mapping[str, Any], sides: Sequence[str]) -> Markup:
    means = summary["geomean_edges"]
    head = tag("th", "Geometric mean", scope="rowgroup", rowspan=len(sides))
    rest = tag("td", colspan=_N_NUMBERS - 2)
    cells = {side: [tag("td"), number(means.get(side), ratio), rest] for side in sides}
    return tag("tfoot", *_rows(head, sides, cells, summary["edge_ratio"]))


_SWEEPS = (
    ("n_edges_unswept", "induced edges before the sweep"),
    ("n_edges", "induced edges after the sweep of nodes"),
    ("n_minimal_edges", "minimal edges, after the sweep of edges"),
)


def sweeps_table(report: Mapping[str, Any]) -> Markup:
    """Geometric means by the way of counting edges; nothing when there is no task to take means over."""
    sweeps, sides = report["summary"]["sweeps"], present(report["models"])
    if not report["summary"]["tasks_compared"]:
        return Markup("")
    paired = len(sides) == 2
    rows = [
        [row_head(name), *(number(sweeps[key][side], ratio) for side in sides)]
        + ([number(sweeps[key]["ratio"], ratio)] if paired else [])
        for key, name in _SWEEPS
    ]
    head = ["Edges counted", *(side.capitalize() for side in sides), *(["Dense / sparse"] if paired else [])]
    return table("Geometric mean of circuit sizes before and after the sweeps, same tasks", head, rows)


def models_table(models: Mapping[str, Any]) -> Markup:
    """The two models side by side."""
    rows: list[tuple[str, str, Callable[[Any], str] | None]] = [
        ("recipe", "recipe", None), ("mode of training", "mode", None), ("layers", "n_layer", count),
        ("width (channels)", "d_model", count),
        ("head width", "d_head", count), ("context (tokens)", "context", count), ("density", "density", percent),
        ("parameters", "n_parameters", count), ("of them nonzero", "n_nonzero", count),
        ("training tokens", "n_tokens", count), ("held-out loss", "heldout_loss", loss),
        ("fingerprint", "fingerprint", lambda value: str(value)[:12]),
    ]  # fmt: skip
    body, sides = [], present(models)
    for name, key, form in rows:
        values = [models[side][key] for side in sides]
        if key in ("recipe", "mode", "fingerprint"):
            cells = [tag("td", form(value) if form else value, class_="number") for value in values]
        else:
            cells = [number(value, form or str) for value in values]
        body.append([row_head(name), *cells])
    body += _savings_rows([models[side]["savings"] for side in sides])
    return table("Shape, size and training", ["", *(models[side]["label"] for side in sides)], body)


def _savings_rows(savings: Sequence[Mapping[str, float]]) -> list[list[Markup]]:
    """What a mode that follows the nonzeros has spared; no rows where all models were trained by the exact step."""
    if not any(savings):
        return []
    names: list[tuple[str, str, Callable[[Any], str]]] = [
        ("rows spared a full gradient", "spared_rows", percent),
        ("weights that came back, per step", "exchanges", lambda value: f"{value:.1f}"),
        ("error of the estimated gradient norm", "norm_error", percent),
        ("seconds saved", "seconds_saved", lambda value: f"{value:.0f}"),
    ]
    return [[row_head(name), *(number(found.get(key), form) for found in savings)] for name, key, form in names]


def _gap(value: Number) -> str:
    return f"{value:+.3f}".replace("-", "−")


def twins_table(report: Mapping[str, Any]) -> Markup:
    """The dense widths that were tried."""
    target = report["summary"]["heldout_loss"]["sparse"]
    rows = [
        [row_head(f"width {twin['d_model']}"), number(twin["tokens_frac"], percent), number(twin["heldout_loss"], loss),
         number(twin["heldout_loss"] - target, _gap), tag("td", "chosen" if twin["chosen"] else "")]
        for twin in report["twins_tried"]
    ]  # fmt: skip
    return table("Dense twins tried", ["Width", "Tokens", "Held-out loss", "Minus sparse", "Chosen"], rows)


def selection_table(selection: Mapping[str, Any]) -> Markup:
    """Every task with the whole models' scores, before any pruning."""
    rows = []
    for task in selection["tasks"]:
        verdict = "selected" if task["selected"] else "solved" if task["solved"] else "not solved"
        verdict = task["unavailable"] or verdict
        numbers = [number(task.get(f"{side}_accuracy"), percent) for side in NAMES]
        numbers += [number(task.get(f"{side}_loss"), loss) for side in NAMES]
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
    """Names and values as a definition list; a mapping among the values is told entry by entry."""
    flat: list[tuple[str, Any]] = []
    for key, value in values.items():
        inner = value.items() if isinstance(value, Mapping) else [("", value)]
        flat += [(f"{key} {name}".strip(), told) for name, told in inner]
    entries = (tag("div", tag("dt", name.replace("_", " ")), tag("dd", str(told))) for name, told in flat)
    return tag("dl", *entries, class_="facts")
