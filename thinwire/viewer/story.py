"""The page's first paragraphs: what was trained, and the headline, whatever it is."""

from thinwire.circuits.solved import caution
from thinwire.viewer.contract import ModelReport, Report, TaskModel, TaskReport, present
from thinwire.viewer.markup import Markup, join, tag, text
from thinwire.viewer.settings import shown, stand_ins, targets
from thinwire.viewer.sides import NAMES
from thinwire.viewer.verdicts import badge, verdict_sentence
from thinwire.viewer.wording import (
    Number,
    count,
    datum,
    listing,
    loss,
    percent,
    plural,
    ratio,
    short_count,
    upper_first,
)

QUOTE_TASK = "single_double_quote"
_CLOSE = 0.02
"""Held-out losses less than this apart, in nats, are called equal."""


def featured(report: Report) -> TaskReport | None:
    """The task that the page tells first: of those with a circuit quote closing, or else the first one."""
    found = [task for task in report.tasks if task.models[present(task.models)[0]].target_met] or report.tasks
    return next((task for task in found if task.name == QUOTE_TASK), found[0] if found else None)


def _strong(words: str) -> Markup:
    return tag("strong", words)


def _zeros(model: ModelReport) -> str:
    """How sparse a model is, said of its matrices and of everything in it."""
    words = f"{percent(1 - model.density)} of the entries of every weight matrix are exactly zero"
    share = percent(model.n_nonzero / model.n_parameters)
    dense = f", {short_count(model.n_bigram)} of them in a dense bigram table" if model.n_bigram else ""
    return f"{words} (of all {short_count(model.n_parameters)} parameters {share} are not zero{dense})"


def _models(report: Report) -> str:
    found = [report.models[side] for side in present(report.models)]
    if len(found) == 1:
        seen = short_count(found[0].n_tokens)
        words = f"A small transformer was trained on {seen} tokens of code to predict"
        kind = f"In it, {_zeros(found[0])}." if found[0].density < 1 else "It is an ordinary dense one."
        return f"{words} the next token. {kind}"
    counts = [short_count(model.n_tokens) for model in found]
    tokens = counts[0] if counts[0] == counts[1] else f"{counts[0]} (sparse) and {counts[1]} (dense)"
    return (
        f"Two small transformers were trained on {tokens} tokens of code to predict the next token. In one, "
        f"{_zeros(found[0])}; the other is an ordinary dense twin."
    )


def trained(report: Report) -> Markup:
    """What was trained, and what a circuit is."""
    parts = shown(report)
    if not parts:
        return text(_models(report))
    return text(
        f"{_models(report)} For each of a few tasks we then looked for a circuit: few channels with which a model "
        f"still does the task (loss at most {targets(parts)}) when every other channel is {stand_ins(parts)}. An edge "
        "is one nonzero weight between two channels of the circuit."
    )


def _size(part: TaskModel, name: str) -> Markup:
    if not part.target_met:
        return join([f"in the {name} no circuit met the target (best loss {loss(part.best_loss)})"])
    size = _strong(plural(part.circuit.n_edges, "edge"))
    circuit = join(["a circuit of ", size]) if part.circuit.n_nodes else text("an empty circuit, without any node,")
    if not part.standing.circuit_does:
        words = " meets the target on validation pairs and does not do the task on test pairs"
        return join([f"in the {name} ", circuit, words])
    if not part.suffices:
        return join([f"in the {name} ", circuit, " meets the target, but its tests do not support it"])
    return join([circuit, f" suffices in the {name}"])


def headline(report: Report) -> Markup:
    """How many edges suffice for the featured task in each model, and whether that is how the model does it."""
    task = featured(report)
    if task is None:
        return Markup("No task was pruned, so there is nothing to compare.")
    does = "To close a string with the quote that opened it" if task.name == QUOTE_TASK else f"For {task.name}"
    sizes = join((_size(task.models[side], NAMES[side]) for side in present(task.models)), "; ")
    return join([does, ", ", sizes, "."])


def headline_verdict(report: Report) -> Markup:
    """What was shown of the featured circuit, and what of all of them."""
    task = featured(report)
    if task is None:
        return Markup("")
    part = task.models[present(task.models)[0]]
    words: list[object] = [verdict_sentence(part)]
    if part.judgement and part.judgement.meaning:
        words.append(f" {upper_first(part.judgement.meaning)}.")
    if part.judgement and part.judgement.paper:
        words.append(f" By the paper's own two tests, sufficiency and necessity: {part.judgement.paper}.")
    parts = shown(report)
    if len(parts) > 1:
        tally = {word: sum(p.verdict == word for p in parts) for word in dict.fromkeys(p.verdict for p in parts)}
        words.append(
            f" Of {len(parts)} circuits on this page: {listing([f'{n} {word}' for word, n in tally.items()])}."
        )
    if part.standing.why_not:
        words.append(f" {upper_first(listing(part.standing.why_not))}: by our definition the task is not solved.")
    if (few := caution(part.standing.n_test_pairs)) is not None:
        words.append(f" {upper_first(few)}.")
    return tag("p", *words, class_="verdict-line")


def _ratio_verdict(value: Number) -> str:
    if value <= 1:
        return "So in this run the sparse model's circuits are not smaller than the dense twin's. "
    if value < 2:
        return "So the sparse model's circuits are smaller, but by less than half. "
    return ""


def ratio_sentence(report: Report) -> Markup:
    """The geometric means and their ratio over the tasks that count, or why there are none."""
    names, sizes = report.means.tasks, report.means.headline
    sides = present(report.models)
    tasks = plural(len(names), "task") if len(names) > 1 else f"{listing(names)} alone"
    if len(sides) == 1:
        mean = sizes.means.get(sides[0])
        words = "" if mean is None else f"Over {tasks}, circuits have {ratio(mean)} edges (geometric mean). "
        return text(words)
    if sizes.ratio is None or not names:
        return Markup("There is no task to compare both models on, so no ratio can be given. ")
    sparse, dense = (ratio(sizes.means[side] or 0) for side in sides)
    edges = f"{sparse} edges in the sparse model and {dense} in the dense twin"
    lead = f"{names[0]} is the only task that both whole models do; its circuits have {edges}: "
    if len(names) > 1:
        lead = f"Over {tasks} ({listing(names)}), circuits have {edges} (geometric means): "
    times = _strong(f"{ratio(sizes.ratio)} times")
    return join([lead, times, " as many in the dense twin. ", _ratio_verdict(sizes.ratio)])


def loss_sentence(report: Report) -> Markup:
    """How well the two models are matched, said plainly."""
    sides = present(report.models)
    if len(sides) == 1:
        return join(["Its held-out loss is ", _strong(loss(report.models[sides[0]].heldout_loss)), " nats per token."])
    sparse, dense = (report.models[side].heldout_loss for side in sides)
    gap = abs(sparse - dense)
    better = "The dense twin" if dense < sparse else "The sparse model"
    words = (
        f"They differ by {loss(gap)}: the two predict held-out code about equally well."
        if gap < _CLOSE
        else f"{better} predicts held-out code better by {loss(gap)}, so this is not a comparison at equal loss."
    )
    both = [_strong(loss(sparse)), " sparse, ", _strong(loss(dense)), " dense (nats per token). "]
    return join(["Held-out losses: ", *both, words])


def left_out(report: Report) -> Markup | None:
    """Which tasks are missing from the means, and why."""
    if not report.means.left_out:
        return None
    items = [tag("li", tag("code", name), f": {why}") for name, why in report.means.left_out.items()]
    return join([tag("p", "The means leave out:"), tag("ul", *items, class_="limits")])


def _figure(value: Markup | str, caption: str, mark: Markup | None = None) -> Markup:
    return tag("div", tag("dt", caption), tag("dd", value, mark))


def headline_figures(report: Report) -> Markup:
    """The numbers of the page, large, each with the verdict of its circuit."""
    task = featured(report)
    if task is None:
        return Markup("")
    figures = []
    for side in present(task.models):
        part = task.models[side]
        edges = part.circuit.n_edges
        value = datum(edges, count(edges)) if part.target_met else "none"
        what = "edges that suffice" if part.suffices else "edges of a circuit that meets the target"
        figures.append(_figure(value, f"{what}, {task.name}, {NAMES[side]}", badge(part)))
    if report.paired:
        value, names = report.means.headline.ratio, report.means.tasks
        figures.append(
            _figure(
                datum(value, f"{ratio(value)}×") if value is not None else "none",
                f"edges of dense over sparse, geometric mean of {plural(len(names), 'task')}",
            )
        )
    return tag("dl", *figures, class_="headline")
