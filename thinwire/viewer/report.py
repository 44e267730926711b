"""The report: one HTML page that needs nothing but itself."""

import base64
import hashlib
from collections.abc import Mapping
from string import Template
from typing import Any

from thinwire.viewer.curves import ladder_charts, training_charts
from thinwire.viewer.markup import Markup, join, page_json, static, tag, text, visible
from thinwire.viewer.sections import attention, drawing, example_pair, node_table, steps, task_details
from thinwire.viewer.story import (
    featured,
    headline_figures,
    left_out,
    loss_sentence,
    quote_headline,
    ratio_sentence,
    trained,
)
from thinwire.viewer.tables import facts, main_table, models_table, selection_table, stages_table, twins_table
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
    words = tag("p", f"{task['description']} {task['excluded_cue']}")
    intro = tag("div", words, example_pair(task), class_="prose")
    read = tag("div", tag("h3", "Step by step"), steps(task, "sparse", models), class_="reading")
    picture = tag("div", drawing(task, "sparse", models), read, class_="beside wide")
    parts = [intro, picture]
    if (heads := attention(task, "sparse")) is not None:
        parts.append(tag("div", heads, class_="wide"))
    if (nodes := node_table(task, "sparse", models)) is not None:
        parts.append(tag("div", tag("h3", "Every node on both prompts"), _strip_note(), nodes, class_="wide"))
    dense = tag("div", tag("h3", "The same task in the dense twin"), drawing(task, "dense", models), class_="wide")
    return join([*parts, dense])


def _strip_note() -> Markup:
    return tag(
        "p",
        "One bar for each token of the prompt, in order; up is positive, down is negative; both prompts of a node "
        "share one scale. Mean is the value that replaces the node where it is removed.",
        class_="note",
    )


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
        "featured_anchor": text(anchor),
        "featured_name": text(task["name"] if task else "none"),
        "featured": _featured_section(task, models),
        "main_table": main_table(report),
        "other_tasks": join(task_details(other, models) for other in others) or "No other task was pruned.",
        "training": training_charts(models),
        "ladders": ladder_charts(report),
        "target": text(f"{report['target_loss']:g}"),
        "models_table": models_table(models),
        "twin_rule": text(report["twin_rule"]),
        "twins": twins_table(report),
        "selection_rule": text(report["selection"]["rule"]),
        "selection": selection_table(report["selection"]),
        "corpus": facts(_corpus(report["corpus"])),
        "stages": stages_table(report),
        "environment": facts({**report["environment"], "created": report["created"]}),
        "command": tag("code", visible_title(report["command"])),
    }


def visible_title(words: str) -> str:
    """One line of text with its invisible characters spelled out and its spaces left alone."""
    return " ".join(visible(part) for part in words.split(" "))


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
        "data": page_json(report),
    }
    return Template(static("report.html")).substitute(values)
