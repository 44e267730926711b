"""The tables of circuits: every task in every model, means over tasks, and what each further requirement costs."""

from collections.abc import Mapping, Sequence

from thinwire.viewer.constants import NOT_VERIFIED
from thinwire.viewer.contract import Report, Rung, Side, TaskModel, TaskReport, present
from thinwire.viewer.markup import Markup, tag
from thinwire.viewer.settings import differ, settings_sentence, shown
from thinwire.viewer.tables import number, row_head, scrolling, table
from thinwire.viewer.wording import Number, count, datum, listing, loss, percent, plural, ratio

_COLUMNS = (
    "Task", "Model", "Verdict", "Model does it", "Nodes", "Edges", "Loss", "Accuracy", "KL", "intact", "nodes out",
    "random out", "edges out",
)  # fmt: skip
_SORTED = {"Task": "task", "Edges": "edges", "Dense / sparse": "ratio"}
_WORDS = 4
"""Columns of words on the left."""
_N_NUMBERS = len(_COLUMNS) - _WORDS


def _measured(part: TaskModel) -> list[Markup]:
    test, judgement = part.circuit.scores["test"], part.judgement
    out = judgement.removals if judgement else None
    return [
        number(part.circuit.n_nodes, count),
        number(part.circuit.n_edges, count),
        number(test.loss, loss),
        number(test.accuracy, percent),
        number(test.kl, loss),
        number(out.model_loss if out else None, loss),
        number(out.nodes_loss if out else None, loss),
        _random(out.random_mean, out.random_largest) if out else number(None, loss),
        number(out.edges_loss if out else None, loss),
    ]


def _random(mean: Number | None, largest: Number | None) -> Markup:
    """The mean over the random sets, and the largest of them."""
    if mean is None or largest is None:
        return number(mean, loss)
    words = tag("span", " ≤ ", datum(largest, loss(largest)), class_="largest")
    return tag("td", datum(mean, loss(mean)), words, class_="number")


def _words(part: TaskModel) -> list[Markup]:
    """Verdict, the paper's small below it, and whether the whole model does the task."""
    model = part.circuit.model_scores["test"]
    does = "yes" if part.standing.model_does else tag("strong", "no", class_="failed")
    right = tag("span", f" {percent(model.accuracy)}", class_="largest")
    kind = part.verdict.replace(" ", "-")
    paper = part.judgement.paper if part.judgement else ""
    small = tag("span", f" paper: {paper}", class_="paper-verdict") if paper else None
    return [tag("td", tag("span", part.verdict, class_=f"verdict-word {kind}"), small), tag("td", does, right)]


def _main_row(part: TaskModel) -> list[Markup]:
    if not part.target_met:
        words = f"no circuit met the target (best loss {loss(part.best_loss)})"
        return [*_words(part), tag("td", words, colspan=_N_NUMBERS, class_="unsolved")]
    return [*_words(part), *_measured(part)]


def _edge_ratio(models: Mapping[Side, TaskModel]) -> Number | None:
    if len(models) < 2 or not all(part.target_met for part in models.values()):
        return None
    return max(models["dense"].circuit.n_edges, 1) / max(models["sparse"].circuit.n_edges, 1)


def _rows(
    head: Markup, sides: Sequence[Side], cells: Mapping[Side, list[Markup]], value: Number | None
) -> list[Markup]:
    """One row per model; the head on the left and the ratio on the right span them."""
    rows = []
    for i, side in enumerate(sides):
        first = [head] if i == 0 else []
        last = [number(value, ratio, rowspan=2)] if i == 0 and len(sides) == 2 else []
        name = tag("th", side, scope="row", class_="side")
        rows.append(tag("tr", *first, name, *cells[side], *last, class_=side))
    return rows


def _task_body(task: TaskReport, varied: bool) -> Markup:
    sides = present(task.models)
    link = tag("a", task.name, href=f"#task-{task.name}")
    head = tag("th", link, scope="rowgroup", rowspan=len(sides))
    cells: dict[Side, list[Markup]] = {side: _main_row(task.models[side]) for side in sides}
    if varied:
        cells = {side: [*cells[side], tag("td", task.models[side].setting, class_="setting")] for side in sides}
    value = _edge_ratio(task.models)
    size = (
        task.models["sparse"].circuit.n_edges if "sparse" in task.models and task.models["sparse"].target_met else None
    )
    return tag("tbody", *_rows(head, sides, cells, value), data_task=task.name, data_edges=size, data_ratio=value)


def _prompts(counts: Sequence[int | None]) -> str:
    """`, 512 prompts`, or the range where circuits differ."""
    known = sorted({n for n in counts if n is not None})
    if not known:
        return ""
    return (
        f", {plural(known[0], 'prompt')}" if len(known) == 1 else f", {count(known[0])} to {count(known[-1])} prompts"
    )


def _heads(report: Report, varied: bool) -> Markup:
    parts = shown(report)
    alone = _prompts([part.n_test_prompts for part in parts])
    whole = _prompts(
        [part.judgement.removals.n_prompts for part in parts if part.judgement and part.judgement.removals]
    )
    more = ["Setting"] if varied else []
    more += ["Dense / sparse"] if report.paired else []
    groups = [("", _WORDS), ("size", 2), (f"the circuit alone{alone}", 3), (f"loss of the whole model{whole}", 4)]
    groups += [("", len(more))] if more else []
    first = [tag("th", n, colspan=w, scope="colgroup") if n else tag("td", colspan=w) for n, w in groups]
    second = [
        tag("th", name, scope="col", class_="number" if i >= _WORDS and name != "Setting" else None,
            data_sort=_SORTED.get(name))
        for i, name in enumerate([*_COLUMNS, *more])
    ]  # fmt: skip
    return tag("thead", tag("tr", *first, class_="groups"), tag("tr", *second))


def main_table(report: Report) -> Markup:
    """Tasks x {sparse, dense}, and under it the geometric means."""
    varied = differ(report)
    bodies = [_task_body(task, varied) for task in report.tasks]
    compared = report.means.tasks
    caption = f"Circuits, measured on test pairs. {settings_sentence(report)} "
    caption += f"Geometric means are over {listing(compared)}." if compared else "There is no task to take means over."
    parts = [tag("caption", caption), _heads(report, varied), *bodies, _means(report, varied)]
    return scrolling(tag("table", *parts, id="main-table", class_="main"), caption)


def _means(report: Report, varied: bool) -> Markup:
    sides = present(report.models)
    head = tag("th", "Geometric mean", scope="rowgroup", rowspan=len(sides))
    rest = tag("td", colspan=_N_NUMBERS - 2 + varied)
    headline = report.means.headline
    cells: dict[Side, list[Markup]] = {
        side: [tag("td", colspan=_WORDS - 1), number(headline.means.get(side), ratio), rest] for side in sides
    }  # fmt: skip
    return tag("tfoot", *_rows(head, sides, cells, headline.ratio))


def sizes_table(report: Report) -> Markup | None:
    """Geometric means by the way of counting edges; nothing when there is no task to take means over."""
    if not report.means.tasks:
        return None
    sides = present(report.models)
    rows = [
        [row_head(sizes.counted), *(number(sizes.means.get(side), ratio) for side in sides)]
        + ([number(sizes.ratio, ratio)] if report.paired else [])
        for sizes in report.means.sizes
    ]
    head = ["Edges counted", *(side.capitalize() for side in sides), *(["Dense / sparse"] if report.paired else [])]
    return table("Geometric mean of circuit sizes before and after the sweeps, same tasks", head, rows)


def _rung_words(rung: Rung) -> str:
    """Verdict of a rung, and which of the terms that were asked for it does not meet."""
    missed = f" ({', '.join(rung.not_met)} not met)" if rung.not_met else "" if rung.met else " (target not met)"
    return f"{rung.verdict or NOT_VERIFIED}{missed}"


def ladder_table(report: Report) -> Markup | None:
    """Edges at each requirement, for tasks that were pruned for more than one; None where there are none."""
    ladders: dict[str, list[Rung]] = {}
    for task in report.tasks:
        for side in present(task.models):
            if rungs := task.models[side].ladder:
                ladders[f"{task.name}, {side}"] = rungs
    if not ladders:
        return None
    names = list(dict.fromkeys(rung.requirement for rungs in ladders.values() for rung in rungs))
    rows = []
    for circuit, rungs in ladders.items():
        by_name = {rung.requirement: rung for rung in rungs}
        cells = []
        for name in names:
            rung = by_name.get(name)
            cells += [number(rung.n_edges if rung else None, count), tag("td", _rung_words(rung) if rung else "")]
        rows.append([row_head(circuit), *cells])
    head = ["Circuit", *(word for name in names for word in (f"{name}: edges", f"{name}: verdict"))]
    return table(
        "Edges of the smallest circuit found at each requirement", head, rows, [f"{name}: verdict" for name in names]
    )
