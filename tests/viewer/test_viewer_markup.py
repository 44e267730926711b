"""Prompts, tokens and labels are data: whatever they hold, they never become markup or script."""

import json

import pytest

from thinwire.viewer.markup import Markup, join, page_json, printable, static, tag, text, token, visible

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "&lt;b&gt;",
    "${alert(1)} $name $$",
    "\u2028\u2029",
    "\x00\x1b[31m",
    "\u202egnp.exe",
]


@pytest.mark.parametrize("words", HOSTILE)
def test_text_and_attributes_are_escaped(words: str) -> None:
    made = tag("p", words, title=words)
    inside = made.removeprefix("<p title=").removesuffix("</p>")
    assert "<" not in inside
    assert inside.count('"') == 2  # the attribute's own
    assert made.count(">") == 2  # of <p ...> and </p>


@pytest.mark.parametrize("words", HOSTILE)
def test_json_in_a_page_is_inert_and_comes_back_whole(words: str) -> None:
    dumped = page_json({"token": words})
    assert not set("<>&\u2028\u2029") & set(dumped)
    assert dumped.isascii()
    assert json.loads(dumped) == {"token": words}


def test_only_markup_passes_unescaped() -> None:
    inner = tag("b", "<")
    assert isinstance(inner, Markup)
    assert tag("p", inner) == "<p><b>&lt;</b></p>"
    assert tag("p", "<b>") == "<p>&lt;b&gt;</p>"
    assert text(Markup("<b>")) == "<b>"


def test_attributes_are_named_and_left_out_as_told() -> None:
    assert tag("g", class_="a", data_node="embed:3") == '<g class="a" data-node="embed:3"></g>'
    assert tag("g", hidden=True, title=None, role=False) == "<g hidden></g>"
    assert tag("br") == "<br>"


def test_join_leaves_out_what_is_missing() -> None:
    assert join(["a", None, "<"], ", ") == "a, &lt;"


def test_page_json_refuses_what_json_does_not_know() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        page_json({"loss": float("nan")})


def test_blanks_of_a_token_are_visible() -> None:
    assert visible(' "\n\t') == '·"⏎⇥'
    assert visible("\u2028") == "\\u2028"
    assert visible("\u202e") == "\\u202e"
    assert visible("\x07") == "\\u0007"
    assert visible("café λ") == "café·λ"


def test_a_prompt_keeps_its_lines() -> None:
    assert printable("a b\n\tc") == "a b\n⇥c"


def test_a_token_is_escaped_code() -> None:
    assert token("<b>") == '<code class="token">&lt;b&gt;</code>'


def test_our_own_script_never_sets_html() -> None:
    for name in ("report.js",):
        script = static(name)
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
            assert way not in script, f"{name}: {way}"
