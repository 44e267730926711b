"""The report: one HTML page that needs nothing but itself."""

import base64
import hashlib
from collections.abc import Mapping
from string import Template
from typing import Any

from thinwire.viewer.baselines import baselines
from thinwire.viewer.curves import ladder_charts, training_charts
from thinwire.viewer.markup import Markup, join, page_json, static, tag, text, visible
from thinwire.viewer.questions import questions
from thinwire.viewer.sections import attention, drawing, example_pair, node_table, sentences, steps, task_details
from thinwire.viewer.sides import NAMES, present
from thinwire.viewer.story import (
    featured,
    headline_figures,
    left_out,
    loss_sentence,
    quote_headline,
    ratio_sentence,
    trained,
)
from thinwire.viewer.tables import (
    facts,
    main_table,
    models_table,
    selection_table,
    stages_table,
    sweeps_table,
    twins_table,
)
from thinwire.viewer.verdicts import MEANINGS, verdicts
from thinwire.viewer.wording import count


def _hash_source(content: str) -> str:
    """A Content-Security-Policy source that allows exactly this inline content."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def content_policy(style: str, script: str) -> str:
    """Nothing is loaded, nothing is sent, and only our own style and script run."""
    return (
        f"default-src 'none'; style-src {_hash_source(style)}; script-src {_hash_source(script)}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _featured_section(task: Mapping[str, Any] | None, models: Mapping[str, Any]) -> Markup:
    """The first circuit: drawing beside reading, then its nodes, its heads, and the dense twin's circuit."""
    if task is None:
        return tag("p", "No circuit was pruned in this run.")
    first, *others = present(task)
    words = tag("p", sentences(task["description"], task["excluded_cue"]))
    intro = tag("div", words, example_pair(task), class_="prose")
    read = tag("div", tag("h3", "Step by step", id="reading-title"), steps(task, first, models), class_="reading")
    parts = [intro, tag("div", drawing(task, first, models), read, class_="beside wide")]
    if (heads := attention(task, first)) is not None:
        parts.append(tag("div", heads, class_="wide"))
    if (nodes := node_table(task, first, models)) is not None:
        note = _strip_note(task[first]["evidence"])
        parts.append(tag("div", tag("h3", "Every node on both prompts"), note, nodes, class_="wide"))
    if (tests := verdicts(task)) is not None:
        parts.append(tag("div", tag("h3", "Is this how the model does it?", id="tests-title"), tests, class_="wide"))
    for side in others:
        title = tag("h3", f"The same task in the {NAMES[side]}", id=f"{side}-circuit")
        parts.append(tag("div", title, drawing(task, side, models), class_="wide"))
    return join(parts)


def _strip_note(evidence: Mapping[str, Any]) -> Markup:
    where = f" Recorded in {evidence['measured_in']}." if evidence.get("measured_in") else ""
    words = (
        "One bar for each token of the prompt, in order; up is positive, down is negative; both prompts of a node "
        "share one scale. Mean is the value at which a removed node is held. Reads and writes are the circuit's edges "
        "with their weights; for the embedding and the final norm, the tokens with the largest weights of either sign."
    )
    return tag("p", words, where, class_="note")


def _body(report: Mapping[str, Any]) -> dict[str, str]:
    task, models = featured(report), report["models"]
    others = [other for other in report["tasks"] if other is not task]
    missing = left_out(report)
    anchor = f"task-{task['name']}" if task else "circuit"
    return {
        "title": text(visible_title(report["title"])),
        "trained": trained(report),
        "quote_headline": quote_headline(report),
        "ratio": ratio_sentence(report),
        "losses": loss_sentence(report),
        "left_out": tag("p", missing) if missing else "",
        "figures": headline_figures(report),
        "questions": questions(task, report) if task else "",
        "meanings": join(tag("li", tag("strong", name), f": {words}.") for name, words in MEANINGS.items()),
        "featured_anchor": text(anchor),
        "featured_name": text(task["name"] if task else "none"),
        "featured": _featured_section(task, models),
        "main_table": main_table(report),
        "sweeps_table": sweeps_table(report),
        "baselines": baselines(report),
        "other_tasks": join(task_details(other, models) for other in others) or "No other task was pruned.",
        "training": training_charts(models),
        "ladders": ladder_charts(report),
        "target": text(f"{report['target_loss']:g}"),
        "models_table": models_table(models),
        "choices": _choices(report),
        "corpus": facts(_corpus(report["corpus"])),
        "environment": facts({**report["environment"], "created": report["created"]}),
        "command": tag("code", visible_title(report["command"])),
        "look": _look(report.get("view_command")),
    }


def _look(command: str | None) -> Markup:
    """How to look around in the circuits, where the report says it."""
    if not command:
        return Markup("")
    return join(
        [tag("h3", "Look around in the circuits"), tag("p", tag("code", visible_title(command)), class_="command")]
    )


def _choices(report: Mapping[str, Any]) -> Markup:
    """How the twin and the tasks were chosen and how long it took; what a report lacks is left out."""
    parts = []
    if report["twins_tried"]:
        rule, twins = tag("p", report["twin_rule"]), tag("div", twins_table(report), class_="prose")
        parts += [tag("h3", "How the dense twin was chosen"), rule, twins]
    if report["selection"]["tasks"]:
        rule = tag("p", report["selection"]["rule"])
        tasks = tag("div", selection_table(report["selection"]), class_="wide")
        parts += [tag("h3", "How the tasks were chosen"), rule, tasks]
    if report["stages"]:
        parts += [tag("h3", "Time"), tag("div", stages_table(report), class_="prose")]
    return join(parts)


def visible_title(words: str) -> str:
    """One line of text with its invisible characters spelled out and its spaces left alone."""
    return " ".join(visible(part) for part in words.split(" "))


def _rounded(value: Any, inside: bool = False) -> Any:
    """A copy in which the numbers of every `evidence` have four digits, which keeps the page small."""
    if isinstance(value, dict):
        return {key: _rounded(item, inside or key == "evidence") for key, item in value.items()}
    if isinstance(value, list) and inside:
        return [_rounded(item, True) for item in value]
    return float(f"{value:.4g}") if inside and isinstance(value, float) else value


def _corpus(corpus: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "source": corpus["source"], "files": count(corpus["n_files"]), "bytes": count(corpus["n_bytes"]),
        "training tokens": count(corpus["n_train_tokens"]), "held-out tokens": count(corpus["n_heldout_tokens"]),
        "sha256": corpus["sha256"],
    }  # fmt: skip


def render_report(report: Mapping[str, Any]) -> str:
    """The page for one report dictionary (schema.py: `Report`), as HTML text.

    Self-contained: style, script and data are inline, a Content-Security-Policy forbids the
    network, and everything but sorting and highlighting works without JavaScript.
    """
    style, script = static("report.css") + static("drawing.css"), static("report.js")
    values = {
        **_body(report),
        "policy": text(content_policy(style, script)),
        "style": style,
        "script": script,
        "data": page_json({**report, "tasks": [_rounded(task) for task in report["tasks"]]}),
    }
    return Template(static("report.html")).substitute(values)
