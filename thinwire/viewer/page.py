"""The interactive page: one HTML file that needs nothing but itself."""

from collections.abc import Mapping
from string import Template
from typing import Any

from thinwire.viewer.markup import Markup, page_json, static, tag, text
from thinwire.viewer.report import content_policy, visible_title

SCRIPTS = ("words.js", "drawing.js", "panels.js", "exports.js", "view.js")
STYLES = ("view.css", "drawing.css")


def render_view(bundle: Mapping[str, Any]) -> str:
    """The page for one bundle (bundle.py), as HTML text.

    Works from disk and in a sandboxed iframe. A Content-Security-Policy forbids the network; a live page (its bundle
    has `live`) may speak to its own server alone.
    """
    style = "".join(map(static, STYLES))
    script = '"use strict";\n(() => {\n' + "".join(map(static, SCRIPTS)) + "})();\n"
    policy = content_policy(style, script)
    if bundle["live"]:
        policy += "; connect-src 'self'"
    values = {
        "title": text(visible_title(bundle["title"])),
        "policy": text(policy),
        "style": style,
        "script": script,
        "data": page_json(bundle),
    }
    return Template(static("view.html")).substitute(values)


def sandboxed(page: str, height: int = 720) -> Markup:
    """The page in an iframe that may run its own script and save files, and nothing else."""
    return tag(
        "iframe", srcdoc=page, sandbox="allow-scripts allow-downloads", width="100%", height=height,
        frameborder=0, title="Circuit viewer",
    )  # fmt: skip
