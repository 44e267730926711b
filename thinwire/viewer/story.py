"""The page's first paragraphs: what was trained, and the headline, whatever it is."""

from collections.abc import Mapping
from typing import Any

from thinwire.viewer.markup import Markup, join, tag, text
from thinwire.viewer.wording import count, datum, listing, loss, percent, plural, ratio, short_count

QUOTE_TASK = "single_double_quote"
_CLOSE = 0.02


def featured(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The task that the page tells first: quote closing, or else the first one."""
    tasks = report["tasks"]
    return next((task for task in tasks if task["name"] == QUOTE_TASK), tasks[0] if tasks else None)


def best_loss(circuit: Mapping[str, Any]) -> float:
    """The lowest validation loss that the pruning reached."""
    return min([circuit["scores"]["validation"]["loss"], *(value for _, value in circuit["loss_curve"])])


def is_solved(part: Mapping[str, Any]) -> bool:
    return part["circuit"]["status"] == "solved"


def _strong(words: str) -> Markup:
    return tag("strong", words)


def trained(report: Mapping[str, Any]) -> Markup:
    """What was trained, on what."""
    sparse, dense = report["models"]["sparse"], report["models"]["dense"]
    return join([
        f"Two small transformers were trained to predict the next token of Python code ({report['corpus']['source']}). "
        f"In the sparse one, {percent(1 - sparse['density'])} of the entries of every weight matrix are exactly zero; "
        f"the other is an ordinary dense twin. They saw {short_count(sparse['n_tokens'])} and "
        f"{short_count(dense['n_tokens'])} tokens. For each task we then looked for a circuit: the fewest channels with "
        f"which the model still solves the task (loss at most {report['target_loss']:g}) when everything else is "
        "replaced by its average. An edge is one nonzero weight between two channels of the circuit."
    ])  # fmt: skip


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
    return join([text(does), ": ", _side(task["sparse"], "sparse model"), "; ", _side(task["dense"], "dense twin"), "."])


def _verdict(value: float) -> str:
    if value <= 1:
        return "So in this run the sparse model's circuits are not smaller than the dense twin's. "
    if value < 2:
        return "So the sparse model's circuits are smaller, but by less than half. "
    return ""


def ratio_sentence(report: Mapping[str, Any]) -> Markup:
    """The geometric means and their ratio over the tasks that both models solve, or why there are none."""
    summary, names = report["summary"], report["summary"]["tasks_compared"]
    value = summary["edge_ratio"]
    if value is None or not names:
        return Markup("No task is solved by a circuit of both models, so no ratio can be given.")
    sparse, dense = summary["geomean_edges"]["sparse"], summary["geomean_edges"]["dense"]
    tasks = f"the {plural(len(names), 'task')} solved in both models" if len(names) > 1 else f"{names[0]} alone"
    return join([
        f"Over {tasks}, circuits have {ratio(sparse)} edges in the sparse model and {ratio(dense)} in the dense twin "
        "(geometric means): ", _strong(f"{ratio(value)} times"), " as many in the dense twin. ", _verdict(value),
    ])  # fmt: skip


def loss_sentence(report: Mapping[str, Any]) -> Markup:
    """How well the two models are matched, said plainly."""
    sparse, dense = report["summary"]["heldout_loss"]["sparse"], report["summary"]["heldout_loss"]["dense"]
    gap = abs(sparse - dense)
    better = "The dense twin" if dense < sparse else "The sparse model"
    words = (
        "The two predict held-out code equally well to within that."
        if gap < _CLOSE
        else f"{better} predicts held-out code better by {loss(gap)}, so this is not a comparison at exactly equal loss."
    )
    return join(["Held-out losses: ", _strong(loss(sparse)), " sparse, ", _strong(loss(dense)),
                 f" dense (nats per token; they differ by {loss(gap)}). " if gap < _CLOSE else " dense (nats per token). ",
                 words])  # fmt: skip


def left_out(report: Mapping[str, Any]) -> Markup | None:
    """Which tasks are missing from the means, and why."""
    sentences = []
    for side, name in (("sparse", "the sparse model"), ("dense", "the dense twin")):
        missing = [task["name"] for task in report["tasks"] if not is_solved(task[side])]
        if missing:
            sentences.append(f"No circuit of {name} reached the target on {listing(missing)}, which the means leave out.")
    return text(" ".join(sentences)) if sentences else None


def _figure(value: Markup | str, caption: str) -> Markup:
    return tag("div", tag("dt", caption), tag("dd", value))


def headline_figures(report: Mapping[str, Any]) -> Markup:
    """The three numbers of the page, large."""
    task, value = featured(report), report["summary"]["edge_ratio"]
    figures = []
    for side, name in (("sparse", "sparse model"), ("dense", "dense twin")):
        if task is not None:
            circuit = task[side]["circuit"]
            number = datum(circuit["n_edges"], count(circuit["n_edges"])) if is_solved(task[side]) else "not solved"
            figures.append(_figure(number, f"edges, {task['name']}, {name}"))
    shown = datum(value, f"{ratio(value)}×") if value is not None else "none"
    n = len(report["summary"]["tasks_compared"])
    figures.append(_figure(shown, f"edges of dense over sparse, geometric mean of {plural(n, 'task')}"))
    return tag("dl", *figures, class_="headline")
