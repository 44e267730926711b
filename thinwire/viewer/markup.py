"""HTML and SVG elements whose text is always escaped, and the JSON that may stand in a page.

Prompts, tokens and labels are data. They reach a page only through `tag` or `page_json`.
"""

import base64
import hashlib
import json
import re
from html import escape
from importlib.resources import files
from typing import Any

_VOID = {"br", "hr", "img", "input", "link", "meta", "wbr"}


class Markup(str):
    """Text that is markup already. Everything else is escaped when it becomes a child."""


def text(value: object) -> Markup:
    """Escaped text; `Markup` passes unchanged."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def join(parts: Any, separator: str = "") -> Markup:
    """Children one after the other, each escaped unless it is markup; None is left out."""
    return Markup(escape(separator).join(text(part) for part in parts if part is not None))


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """One element. `class_` gives `class`, `data_node` gives `data-node`; None and False are left out."""
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{escape(str(value))}"')
    opening = " ".join(words)
    if name in _VOID:
        return Markup(f"<{opening}>")
    return Markup(f"<{opening}>{join(children)}</{name}>")


def static(name: str) -> str:
    """Content of a file of `thinwire/viewer/static/`."""
    return (files("thinwire.viewer") / "static" / name).read_text(encoding="utf-8")


def page_json(value: Any) -> Markup:
    """JSON that is inert inside `<script type="application/json">`: no `<`, `>`, `&`, only ASCII."""
    dumped = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(dumped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


# Control, format (bidi overrides among them), line and paragraph separators, surrogates, byte order mark.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ud800-\udfff\ufeff]"
)
_SIGNS = {"\n": "⏎", "\t": "⇥", "\r": "␍"}


def _sign(match: re.Match[str]) -> str:
    character = match.group()
    return _SIGNS.get(character, f"\\u{ord(character):04x}")


def visible(token: str) -> str:
    """A token with its blanks shown: `·` space, `⏎` newline, `⇥` tab, `\\u2028` for what no font shows."""
    return _INVISIBLE.sub(_sign, token).replace(" ", "·")


def printable(prompt: str) -> str:
    """A prompt with its lines kept and every other invisible character spelled out."""
    return "\n".join(_INVISIBLE.sub(_sign, line) for line in prompt.split("\n"))


def visible_line(words: str) -> str:
    """One line of text with its invisible characters spelled out and its spaces left alone."""
    return " ".join(visible(part) for part in words.split(" "))


def token(value: str) -> Markup:
    """A token as a chip of code."""
    return tag("code", visible(value), class_="token")


def _hash_source(content: str) -> str:
    """A Content-Security-Policy source that allows exactly this inline content."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def content_policy(style: str, script: str) -> str:
    """Nothing is loaded, nothing is sent, and only our own style and script run."""
    return (
        f"default-src 'none'; style-src {_hash_source(style)}; script-src {_hash_source(script)}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
