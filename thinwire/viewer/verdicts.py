"""The verification of a circuit: which tests it passed, and what the verdict means.

Tolerant on purpose: it shows the tests that `verify.json` has, in their order, each with what it says of itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from thinwire.viewer.markup import Markup, join, tag
from thinwire.viewer.sides import NAMES, present
from thinwire.viewer.tables import scrolling

MEANINGS = {
    "faithful": "every test that decides is passed: the circuit suffices, the model needs it, and both compute alike",
    "sufficient only": "the circuit alone does the task, but something speaks against it being how the model does it",
    "not supported": "the model does not do the task well, or the circuit alone does not do it",
}
_PASSED: dict[object, str] = {True: "passed", False: "failed", None: "not run"}


def _is_test(part: object) -> bool:
    return isinstance(part, Mapping) and ("passed" in part or "verdict" in part or "sentence" in part)


def judged(verification: Mapping[str, Any] | None) -> list[tuple[str, Mapping[str, Any]]]:
    """(name, test) of the tests that state an outcome."""
    return [(name, part) for name, part in (verification or {}).items() if _is_test(part)]


def outcome(test: Mapping[str, Any]) -> str:
    """`passed`, `failed`, `not run`, or the test's own word."""
    if "passed" in test:
        return _PASSED.get(test["passed"], str(test["passed"]))
    return str(test.get("verdict", "reported"))


def verdict_words(verification: Mapping[str, Any] | None) -> str:
    """The verdict and what it means; empty where none was given."""
    verdict = str((verification or {}).get("verdict") or "").replace("_", " ")
    if not verdict:
        return ""
    meaning = MEANINGS.get(verdict)
    return f"{verdict}: {meaning}" if meaning else verdict


def _sentence(test: Mapping[str, Any]) -> str:
    sentence = test.get("sentence") or test.get("reason") or ""
    return sentence if isinstance(sentence, str) else str(sentence)


def _threshold(test: Mapping[str, Any]) -> str:
    threshold = test.get("threshold", "")
    if isinstance(threshold, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in threshold.items())
    return str(threshold)


def verdict_table(verification: Mapping[str, Any] | None, name: str) -> Markup | None:
    """Verdict, reasons, and a row for each test that was judged; None where nothing was."""
    tests, words = judged(verification), verdict_words(verification)
    if not tests and not words:
        return None
    reasons: Sequence[str] = (verification or {}).get("reasons") or ()
    parts: list[Markup] = []
    if words:
        label, _, meaning = words.partition(": ")
        parts.append(tag("p", tag("strong", label.capitalize()), f": {meaning}." if meaning else "."))
    if reasons:
        parts.append(tag("ul", *(tag("li", reason) for reason in reasons), class_="reasons"))
    if tests:
        parts.append(_table(tests, name))
    return tag("div", *parts, class_="verdict")


def _table(tests: Sequence[tuple[str, Mapping[str, Any]]], name: str) -> Markup:
    head = [tag("th", word, scope="col") for word in ("Test", "Outcome", "What was measured", "Passes when")]
    rows = [
        tag("tr", tag("th", test_name.replace("_", " "), scope="row"), _mark(outcome(test)),
            tag("td", _sentence(test)), tag("td", _threshold(test), class_="threshold"))
        for test_name, test in tests
    ]  # fmt: skip
    caption = f"Tests of the circuit of the {name}"
    inside = [tag("caption", caption), tag("thead", tag("tr", *head)), tag("tbody", *rows)]
    return scrolling(tag("table", *inside, class_="tests"), caption)


def _mark(word: str) -> Markup:
    """The outcome with a sign in front: nothing is told by colour alone."""
    sign = {"passed": "✓", "failed": "✗", "not run": "–"}.get(word, "·")
    kind = word.replace(" ", "-") if word in _PASSED.values() else "reported"
    return tag("td", tag("span", sign, aria_hidden="true", class_="sign"), f" {word}", class_=f"outcome {kind}")


def verdicts(task: Mapping[str, Any]) -> Markup | None:
    """The verification of a task's circuits, one after the other; None where none was judged."""
    found = [(side, verdict_table(task[side]["verification"], NAMES[side])) for side in present(task)]
    shown = [(side, table) for side, table in found if table is not None]
    if not shown:
        return None
    return join(tag("div", tag("h4", NAMES[side].capitalize()), table) for side, table in shown)
