"""The interactive page: one HTML file that needs nothing but itself."""

from string import Template

from thinwire.viewer.bundle import view_data
from thinwire.viewer.constants import as_script
from thinwire.viewer.markup import Markup, content_policy, page_json, static, tag, text, visible_line
from thinwire.viewer.view_contract import LiveView, View

SCRIPTS = ("words.js", "drawing.js", "panels.js", "exports.js", "live.js", "view.js")
STYLES = ("view.css", "drawing.css")


def render_view(view: View | LiveView) -> str:
    """The page, as HTML text.

    Works from disk and in a sandboxed iframe. A Content-Security-Policy forbids the network; a live page may speak to
    its own server alone.
    """
    style = "".join(map(static, STYLES))
    script = '"use strict";\n(() => {\n' + as_script() + "".join(map(static, SCRIPTS)) + "})();\n"
    policy = content_policy(style, script)
    if isinstance(view, LiveView):
        policy += "; connect-src 'self'"
    values = {
        "title": text(visible_line(view.title)),
        "policy": text(policy),
        "style": style,
        "script": script,
        "data": page_json(view_data(view)),
    }
    return Template(static("view.html")).substitute(values)


def sandboxed(page: str, height: int = 720) -> Markup:
    """The page in an iframe that may run its own script and save files, and nothing else."""
    return tag(
        "iframe", srcdoc=page, sandbox="allow-scripts allow-downloads", width="100%", height=height,
        frameborder=0, title="Circuit viewer",
    )  # fmt: skip
