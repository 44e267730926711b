"""The sections of a report, in their order. A new one is a function here (or one it calls) and a line in `SECTIONS`."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from string import Template
from typing import Any

from thinwire.evidence.records import MEASURED_IN
from thinwire.viewer.circuit_tables import ladder_table, main_table, sizes_table
from thinwire.viewer.constants import GUESSING_LOSS, PAPER_RATIO
from thinwire.viewer.contract import Report, TaskModel, present
from thinwire.viewer.curves import ladder_charts, training_charts
from thinwire.viewer.markup import Markup, join, static, tag, text, visible_line
from thinwire.viewer.model_tables import models_table, selection_table, stages_table, twins_table
from thinwire.viewer.other_ways import other_ways
from thinwire.viewer.settings import shown, stand_ins, targets
from thinwire.viewer.sides import NAMES
from thinwire.viewer.story import featured
from thinwire.viewer.tables import facts
from thinwire.viewer.task_parts import (
    attention,
    drawing,
    example_pair,
    node_table,
    sentences,
    steps,
    task_details,
)
from thinwire.viewer.verdicts import MEANINGS, verdicts
from thinwire.viewer.wording import count, listing, loss, plural


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own and a line in the contents."""

    id: str
    title: str
    body: Callable[[Report], Markup | None]
    """None where the report has nothing for it: then heading and line are left out too."""


def circuit_anchor(report: Report) -> str:
    task = featured(report)
    return f"task-{task.name}" if task else "circuit"


def wide(*children: object) -> Markup | None:
    """A box of the page's full width; None around nothing."""
    inside = [child for child in children if child is not None]
    return tag("div", *inside, class_="wide") if inside else None


def _circuit(report: Report) -> Markup:
    """The first circuit: drawing beside reading, then its nodes, its heads, and the dense twin's circuit."""
    task, models = featured(report), report.models
    if task is None:
        return tag("p", "No circuit was pruned in this run.")
    first, *others = present(task.models)
    read = tag("div", tag("h3", "Step by step", id="reading-title"), steps(task, first, models), class_="reading")
    nodes, tests = node_table(task, first, models), verdicts(task)
    return join([
        tag("p", tag("code", task.name), ": ", sentences(task.description, task.excluded_cue)),
        example_pair(task),
        tag("div", drawing(task, first, models), read, class_="beside wide"),
        wide(attention(task, first)),
        wide(tag("h3", "Every node on both prompts"), _strip_note(), nodes) if nodes else None,
        wide(tag("h3", "Is this how the model does it?", id="tests-title"), tests) if tests else None,
        *(
            wide(tag("h3", f"The same task in the {NAMES[side]}", id=f"{side}-circuit"), drawing(task, side, models))
            for side in others
        ),
    ])  # fmt: skip


def _strip_note() -> Markup:
    words = (
        "One bar for each token of the prompt, in order; up is positive, down is negative; both prompts of a node "
        "share one scale. Mean is the value at which a removed node is held. Reads and writes are the circuit's edges "
        "with their weights; for the embedding and the final norm, the tokens with the largest weights of either sign. "
        f"Recorded in {MEASURED_IN}."
    )
    return tag("p", words, class_="note")


def _table(report: Report) -> Markup:
    words = (
        "Each task has one circuit in each model, all searched for in the same way. Verdict is what the tests of a "
        "circuit say together; the next column says whether the whole model does the task at all. Sizes count the "
        "circuit; the next columns keep only the circuit; the last ones take it out of the whole model. "
    )
    link = tag("a", "Every column is defined below.", href="#definitions")
    more = sizes_table(report), ladder_table(report), other_ways(report)
    return join([
        tag("p", words, report.choice_rule, " ", link),
        wide(main_table(report)),
        *(tag("div", part, class_="prose") for part in more if part is not None),
    ])  # fmt: skip


def _others(report: Report) -> Markup | None:
    task = featured(report)
    others = [other for other in report.tasks if other is not task]
    return wide(*(task_details(other, report.models) for other in others)) if others else None


def _training(report: Report) -> Markup:
    target = targets(shown(report))
    words = (
        "Nodes are ordered by their learned gate and kept from the top. The line shows the loss on validation pairs at "
        "each number of nodes that was tried. The point is the circuit that was taken, after the sweep has removed "
        "further nodes one by one, so it does not lie on the line"
    )
    words += f"; the target is {target}." if target else "."
    dip = (
        " A line far below the whole model's loss means that removing nodes makes the model better at the choice "
        "between the two answers: the circuit's loss alone is no measure of how the model does it."
    )
    return join([
        tag("p", "Training starts dense. The number of nonzero weights is then lowered step by step, and after each "
            "step only the largest weights of every matrix are kept."),
        tag("div", training_charts(report.models), class_="charts wide"),
        tag("h3", "Loss against circuit size"),
        tag("p", words, dip),
        tag("div", ladder_charts(report.tasks), class_="charts wide"),
    ])  # fmt: skip


def _method(report: Report) -> Markup:
    parts = [tag("h3", "The models"), tag("div", models_table(report.models), class_="prose")]
    if report.twins:
        twins = twins_table(report.twins, report.models["sparse"].heldout_loss)
        parts += [
            tag("h3", "How the dense twin was chosen"),
            tag("p", report.twins.rule),
            tag("div", twins, class_="prose"),
        ]
    if report.selection and report.selection.tasks:
        parts += [tag("h3", "How the tasks were chosen"), tag("p", report.selection.rule)]
        parts.append(tag("div", selection_table(report.selection), class_="wide"))
    if report.stages:
        parts += [tag("h3", "Time"), tag("div", stages_table(report), class_="prose")]
    parts += [tag("h3", "Text"), tag("div", facts(_corpus(report)), class_="prose")]
    machine = facts({**report.environment, "created": report.created})
    parts += [tag("h3", "Machine and versions"), tag("div", machine, class_="prose")]
    parts += [tag("h3", "Make this page again"), _command(report.command)]
    if report.view_command:
        parts += [tag("h3", "Look around in the circuits"), _command(report.view_command)]
    return join(parts)


def _command(words: str) -> Markup:
    return tag("p", tag("code", visible_line(words)), class_="command")


def _corpus(report: Report) -> dict[str, Any]:
    corpus = asdict(report.corpus)
    names = {
        "n_files": "files",
        "n_bytes": "bytes",
        "n_train_tokens": "training tokens",
        "n_heldout_tokens": "held-out tokens",
    }
    return {names.get(key, key): count(value) if key in names else value for key, value in corpus.items()}


def _definitions(report: Report) -> Markup:
    """Words of the page; every number in them is this report's own."""
    parts = shown(report)
    removals = [part.judgement.removals for part in parts if part.judgement and part.judgement.removals]
    sets = sorted({out.n_random for out in removals})
    fewer = sorted({n for out in removals if (n := out.n_random_prompts) is not None and n != out.n_prompts})
    values = {
        "stand_ins": text(stand_ins(parts) or "held at its average"),
        "guessing": text(loss(GUESSING_LOSS)),
        "random_prompts": text(f", on {listing([count(n) for n in fewer])} of these prompts," if fewer else ""),
        "random_sets": text(f"{listing([count(n) for n in sets])} random sets" if sets else "random sets"),
        "paper_ratio": text(count(PAPER_RATIO)),
        "solved_means": text(report.solved_means),
        "seeds": text(_seeds(parts)),
        "meanings": join(tag("li", tag("strong", name), f": {words}.") for name, words in MEANINGS.items()),
    }
    return Markup(Template(static("definitions.html")).substitute(values))


def _seeds(parts: list[TaskModel]) -> str:
    seeds = sorted({part.circuit.seed for part in parts})
    which = f"seed {seeds[0]}" if len(seeds) == 1 else f"{plural(len(seeds), 'seed')}"
    return f"One seed of training for each model, and one of pruning for each circuit ({which})"


SECTIONS = (
    Section("circuit", "The circuit", _circuit),
    Section("table", "All tasks", _table),
    Section("others", "The other circuits", _others),
    Section("training", "Training", _training),
    Section("method", "How it was measured", _method),
    Section("definitions", "Definitions", _definitions),
)


def render_sections(report: Report) -> tuple[Markup, Markup]:
    """The sections that a report has something for, and the list of contents that leads to them."""
    drawn, entries = [], []
    for section in SECTIONS:
        body = section.body(report)
        if body is None:
            continue
        anchor = circuit_anchor(report) if section.id == "circuit" else section.id
        heading = tag("h2", section.title, id=f"{section.id}-title")
        drawn.append(tag("section", heading, body, id=anchor, class_="grid", aria_labelledby=f"{section.id}-title"))
        entries.append(tag("li", tag("a", section.title, href=f"#{anchor}")))
    return join(drawn, "\n"), tag("nav", tag("ul", *entries), aria_label="Contents")
