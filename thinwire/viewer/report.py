"""The report: one HTML page that needs nothing but itself."""

from string import Template
from typing import Any

from thinwire.viewer.constants import as_script
from thinwire.viewer.contract import Report
from thinwire.viewer.markup import content_policy, page_json, static, text, visible_line
from thinwire.viewer.questions import questions
from thinwire.viewer.sections import render_sections
from thinwire.viewer.story import (
    featured,
    headline,
    headline_figures,
    headline_verdict,
    left_out,
    loss_sentence,
    ratio_sentence,
    trained,
)
from thinwire.viewer.wording import plain, rounded

SCRIPTS = ("words.js", "report.js")
STYLES = ("report.css", "drawing.css")


def render_report(report: Report) -> str:
    """The page for one report, as HTML text.

    Self-contained: style, script and data are inline, a Content-Security-Policy forbids the
    network, and everything but sorting and highlighting works without JavaScript.
    """
    style = "".join(map(static, STYLES))
    script = '"use strict";\n(() => {\n' + as_script() + "".join(map(static, SCRIPTS)) + "})();\n"
    task = featured(report)
    sections, contents = render_sections(report)
    values = {
        "title": text(visible_line(report.title)),
        "trained": trained(report),
        "headline": headline(report),
        "verdict": headline_verdict(report),
        "figures": headline_figures(report),
        "questions": questions(task, report) if task else "",
        "ratio": ratio_sentence(report),
        "losses": loss_sentence(report),
        "left_out": left_out(report) or "",
        "contents": contents,
        "sections": sections,
        "policy": text(content_policy(style, script)),
        "style": style,
        "script": script,
        "data": page_json(report_data(report)),
    }
    return Template(static("report.html")).substitute(values)


def report_data(report: Report) -> dict[str, Any]:
    """The report as plain JSON values; numbers of evidence have four digits, which keeps the page small."""
    data = plain(report)
    for task in data["tasks"]:
        for part in task["models"].values():
            part["evidence"] = rounded(part["evidence"], 4)
    return data
