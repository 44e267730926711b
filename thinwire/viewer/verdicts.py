"""The verification of a circuit: which tests it passed, and what the verdict means."""

from collections.abc import Iterator, Sequence

from thinwire.viewer.contract import JudgedTest, Judgement, TaskModel, TaskReport, present
from thinwire.viewer.markup import Markup, join, tag
from thinwire.viewer.sides import NAMES
from thinwire.viewer.tables import scrolling
from thinwire.viewer.wording import count, plural, upper_first

MEANINGS = {
    "faithful": "every test that must pass does and none that must not fail did: the circuit suffices, the model needs "
    "it, and both compute alike",
    "sufficient only": "the circuit alone does the task, but something speaks against it being how the model does it",
    "not supported": "the whole model does not do the task well, or the circuit alone does not do it",
}
_SIGNS = {"passed": "✓", "failed": "✗", "not run": "–"}


def badge(part: TaskModel) -> Markup:
    """The verdict as a mark that stands beside a number."""
    word = part.verdict
    return tag("span", word, class_=f"verdict-badge {word.replace(' ', '-')}")


def judged_table(judgement: Judgement | None, name: str) -> Markup | None:
    """Verdict, reasons, and a row for each test; None where nothing was judged."""
    if judgement is None or not (judgement.tests or judgement.verdict):
        return None
    parts: list[Markup] = []
    if judgement.verdict:
        meaning = f": {judgement.meaning}." if judgement.meaning else "."
        parts.append(tag("p", tag("strong", upper_first(judgement.verdict)), _scoped(judgement), meaning))
    if judgement.reasons:
        parts.append(tag("ul", *(tag("li", reason) for reason in judgement.reasons), class_="reasons"))
    parts += [tag("p", words) for words in _beside(judgement)]
    if judgement.tests:
        parts.append(_table(judgement.tests, name))
    return tag("div", *parts, class_="verdict")


def _scoped(judgement: Judgement) -> str:
    """` on the task's prompts; holds on 5 of 6 shifts`, where the scope is known."""
    return f" {judgement.scope}" if judgement.scope else ""


def _beside(judgement: Judgement) -> Iterator[str]:
    """What has to be known beside a verdict: the edges that it is about, the paper's verdict, cautions."""
    if judgement.judged:
        yield f"The tests take the nodes with {judgement.judged}."
    if judgement.paper:
        yield f"By the paper's own two tests, sufficiency and necessity: {judgement.paper}."
    if judgement.cautions:
        yield f"With caution: {' '.join(judgement.cautions)}"


def _table(tests: Sequence[JudgedTest], name: str) -> Markup:
    words = ("Test", "Counts", "Outcome", "Prompts", "What was measured", "Passes when")
    head = [tag("th", word, scope="col", class_="number" if word == "Prompts" else None) for word in words]
    rows = [
        tag("tr", tag("th", test.name.replace("_", " "), scope="row"), tag("td", test.role), _mark(test.outcome),
            tag("td", "" if test.n_prompts is None else count(test.n_prompts), class_="number"),
            tag("td", test.sentence), tag("td", test.threshold, class_="threshold"))
        for test in tests
    ]  # fmt: skip
    caption = f"Tests of the circuit of the {name}"
    inside = [tag("caption", caption), tag("thead", tag("tr", *head)), tag("tbody", *rows)]
    return scrolling(tag("table", *inside, class_="tests"), caption)


def _mark(outcome: str) -> Markup:
    """The outcome with a sign in front: nothing is told by colour alone."""
    sign = tag("span", _SIGNS.get(outcome, "·"), aria_hidden="true", class_="sign")
    return tag("td", sign, f" {outcome}", class_=f"outcome {outcome.replace(' ', '-')}")


def verdicts(task: TaskReport) -> Markup | None:
    """The verification of a task's circuits, one after the other; None where none was judged."""
    shown = []
    for side in present(task.models):
        if (table := judged_table(task.models[side].judgement, NAMES[side])) is not None:
            shown.append(tag("div", tag("h4", upper_first(NAMES[side])), table))
    return join(shown) if shown else None


def verdict_sentence(part: TaskModel) -> Markup:
    """`Verdict of all tests: sufficient only.`, and how many prompts stand behind it."""
    judgement = part.judgement
    if judgement is None or not judgement.verdict:
        return Markup("This circuit was not verified.")
    tested = {test.n_prompts for test in judgement.tests if test.n_prompts is not None}
    behind = ""
    if tested:
        low, high = min(tested), max(tested)
        behind = (
            f" (tests on {plural(low, 'prompt')})" if low == high else f" (tests on {low} to {count(high)} prompts)"
        )
    return join(["Verdict: ", tag("strong", judgement.verdict), _scoped(judgement), behind, "."])
