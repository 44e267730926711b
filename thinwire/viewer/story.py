"""The page's first paragraphs: what was trained, and the headline, whatever it is."""

from collections.abc import Mapping
from typing import Any

from thinwire.viewer.markup import Markup, join, tag, text
from thinwire.viewer.sides import NAMES, best_loss, is_solved, present
from thinwire.viewer.wording import Number, count, datum, listing, loss, percent, plural, ratio, short_count

QUOTE_TASK = "single_double_quote"
_CLOSE = 0.02
"""Held-out losses less than this apart, in nats, are called equal."""


def featured(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The task that the page tells first: quote closing, or else the first one."""
    tasks = report["tasks"]
    return next((task for task in tasks if task["name"] == QUOTE_TASK), tasks[0] if tasks else None)


def _strong(words: str) -> Markup:
    return tag("strong", words)


def _zeros(model: Mapping[str, Any]) -> str:
    return f"{percent(1 - model['density'])} of the entries of every weight matrix are exactly zero"


def _models(models: Mapping[str, Any]) -> str:
    found = [models[side] for side in present(models)]
    if len(found) == 1:
        seen = short_count(found[0]["n_tokens"])
        words = f"A small transformer was trained on {seen} tokens of Python code to predict"
        kind = f"In it, {_zeros(found[0])}." if found[0]["density"] < 1 else "It is an ordinary dense one."
        return f"{words} the next token. {kind}"
    counts = [short_count(model["n_tokens"]) for model in found]
    tokens = counts[0] if counts[0] == counts[1] else f"{counts[0]} (sparse) and {counts[1]} (dense)"
    return (
        f"Two small transformers were trained on {tokens} tokens of Python code to predict the next token. In one, "
        f"{_zeros(found[0])}; the other is an ordinary dense twin."
    )


def trained(report: Mapping[str, Any]) -> Markup:
    """What was trained, and what a circuit is."""
    return text(
        f"{_models(report['models'])} For each of a few tasks we then looked for a circuit: the fewest channels with "
        f"which a model still solves the task (loss at most {report['target_loss']:g}) when every other channel is "
        "held at its average. An edge is one nonzero weight between two channels of the circuit."
    )


def _side(part: Mapping[str, Any], name: str) -> Markup:
    circuit = part["circuit"]
    if not is_solved(part):
        return join([f"in the {name} no circuit reached the target (best loss {loss(best_loss(circuit))})"])
    size = _strong(plural(circuit["n_edges"], "edge"))
    return join([f"the {name} needs ", size, f" between {plural(circuit['n_nodes'], 'node')}"])


def quote_headline(report: Mapping[str, Any]) -> Markup:
    """How many edges the featured task takes in each model."""
    task = featured(report)
    if task is None:
        return Markup("No task was pruned, so there is nothing to compare.")
    does = "To close a string with the quote that opened it" if task["name"] == QUOTE_TASK else f"For {task['name']}"
    return join([does, ", ", join((_side(task[side], NAMES[side]) for side in present(task)), "; "), "."])


def _verdict(value: Number) -> str:
    if value <= 1:
        return "So in this run the sparse model's circuits are not smaller than the dense twin's. "
    if value < 2:
        return "So the sparse model's circuits are smaller, but by less than half. "
    return ""


def ratio_sentence(report: Mapping[str, Any]) -> Markup:
    """The geometric means and their ratio over the tasks that both models solve, or why there are none."""
    summary, names, sides = report["summary"], report["summary"]["tasks_compared"], present(report["models"])
    value, means = summary["edge_ratio"], summary["geomean_edges"]
    tasks = f"the {plural(len(names), 'task')} solved" if len(names) > 1 else f"{listing(names)} alone"
    if len(sides) == 1:
        mean = means.get(sides[0])
        return text("" if mean is None else f"Over {tasks}, circuits have {ratio(mean)} edges (geometric mean). ")
    if value is None or not names:
        return Markup("No task is solved by a circuit of both models, so no ratio can be given. ")
    tasks += " in both models" if len(names) > 1 else ""
    sparse, dense = ratio(means["sparse"]), ratio(means["dense"])
    return join([
        f"Over {tasks}, circuits have {sparse} edges in the sparse model and {dense} in the dense twin (geometric "
        "means): ", _strong(f"{ratio(value)} times"), " as many in the dense twin. ",
        _verdict(value),
    ])  # fmt: skip


def loss_sentence(report: Mapping[str, Any]) -> Markup:
    """How well the two models are matched, said plainly."""
    losses = report["summary"]["heldout_loss"]
    sides = present(report["models"])
    if len(sides) == 1:
        return join(["Its held-out loss is ", _strong(loss(losses[sides[0]])), " nats per token."])
    sparse, dense = losses["sparse"], losses["dense"]
    gap = abs(sparse - dense)
    better = "The dense twin" if dense < sparse else "The sparse model"
    words = (
        f"They differ by {loss(gap)}: the two predict held-out code about equally well."
        if gap < _CLOSE
        else f"{better} predicts held-out code better by {loss(gap)}, so this is not a comparison at equal loss."
    )
    both = [_strong(loss(sparse)), " sparse, ", _strong(loss(dense)), " dense (nats per token). "]
    return join(["Held-out losses: ", *both, words])


def left_out(report: Mapping[str, Any]) -> Markup | None:
    """Which tasks are missing from the means, and why."""
    sentences = []
    for side in present(report["models"]):
        missing = [task["name"] for task in report["tasks"] if side in present(task) and not is_solved(task[side])]
        if missing:
            words = f"No circuit of the {NAMES[side]} reached the target on {listing(missing)}"
            sentences.append(f"{words}, which the means leave out.")
    return text(" ".join(sentences)) if sentences else None


def _figure(value: Markup | str, caption: str) -> Markup:
    return tag("div", tag("dt", caption), tag("dd", value))


def headline_figures(report: Mapping[str, Any]) -> Markup:
    """The numbers of the page, large."""
    task, value = featured(report), report["summary"]["edge_ratio"]
    if task is None:
        return Markup("")
    figures = []
    for side in present(task):
        edges = task[side]["circuit"]["n_edges"]
        shown = datum(edges, count(edges)) if is_solved(task[side]) else "not solved"
        figures.append(_figure(shown, f"edges, {task['name']}, {NAMES[side]}"))
    if len(present(report["models"])) == 2:
        shown = datum(value, f"{ratio(value)}×") if value is not None else "none"
        n = plural(len(report["summary"]["tasks_compared"]), "task")
        figures.append(_figure(shown, f"edges of dense over sparse, geometric mean of {n}"))
    return tag("dl", *figures, class_="headline")
