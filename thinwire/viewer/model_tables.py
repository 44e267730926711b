"""The tables of models: what they are, how the twin and the tasks were chosen, how long it took."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from thinwire.viewer.contract import ModelReport, Report, Selection, Side, Twins, present
from thinwire.viewer.markup import Markup, tag
from thinwire.viewer.tables import number, row_head, table
from thinwire.viewer.wording import Number, count, fixed, loss, percent, seconds


def models_table(models: Mapping[Side, ModelReport]) -> Markup:
    """The two models side by side."""
    sides = present(models)
    numbers: list[tuple[str, str, Callable[[Any], str]]] = [
        ("layers", "n_layer", count), ("width (channels)", "d_model", count), ("head width", "d_head", count),
        ("context (tokens)", "context", count), ("density of every weight matrix", "density", percent),
        ("parameters", "n_parameters", count), ("of them nonzero", "n_nonzero", count),
        ("of these in the dense bigram table", "n_bigram", count),
        ("training tokens", "n_tokens", count), ("held-out loss", "heldout_loss", loss),
        ("held-out tokens behind it", "n_loss_tokens", count),
    ]  # fmt: skip
    words: list[tuple[str, Callable[[ModelReport], str]]] = [
        ("recipe", lambda model: model.recipe), ("mode of training", lambda model: model.mode),
        ("fingerprint", lambda model: model.fingerprint[:12]),
    ]  # fmt: skip

    def said(name: str, form: Callable[[ModelReport], str]) -> list[Markup]:
        return [row_head(name), *(tag("td", form(models[side]), class_="number") for side in sides)]

    body = [said(*words[0]), said(*words[1])]
    body += [
        [row_head(name), *(number(getattr(models[side], key), form) for side in sides)] for name, key, form in numbers
    ]
    body += [said(*words[2]), *_savings_rows([models[side].savings for side in sides])]
    return table("Shape, size and training", ["", *(models[side].label for side in sides)], body)


def _savings_rows(savings: Sequence[Mapping[str, float]]) -> list[list[Markup]]:
    """What a mode that follows the nonzeros has spared; no rows where all models were trained by the exact step."""
    if not any(savings):
        return []
    names: list[tuple[str, str, Callable[[Any], str]]] = [
        ("rows spared a full gradient", "spared_rows", percent),
        ("weights that came back, per step", "exchanges", lambda value: fixed(value, 1)),
        ("error of the estimated gradient norm", "norm_error", percent),
        ("seconds saved", "seconds_saved", lambda value: fixed(value, 0)),
    ]
    return [[row_head(name), *(number(found.get(key), form) for found in savings)] for name, key, form in names]


def _gap(value: Number) -> str:
    return f"{value:+.3f}".replace("-", "−")


def twins_table(twins: Twins, target: float) -> Markup:
    """The dense widths that were tried, beside the held-out loss that they should have."""
    rows = [
        [row_head(f"width {twin.d_model}"), number(twin.tokens_frac, percent), number(twin.heldout_loss, loss),
         number(twin.heldout_loss - target, _gap), tag("td", "chosen" if twin.chosen else "")]
        for twin in twins.tried
    ]  # fmt: skip
    head = ["Width", "Tokens", "Held-out loss", "Minus sparse", "Chosen"]
    return table("Dense twins tried", head, rows, ["Chosen"])


def selection_table(selection: Selection) -> Markup:
    """Every task with the whole models' scores, before any pruning; why a task could not be asked stands under it."""
    rows = []
    for task in selection.tasks:
        if task.unavailable:
            words = tag("td", f"not available: {task.unavailable}", colspan=5, class_="why")
            rows.append([row_head(task.name), words])
            continue
        verdict = "selected" if task.selected else "the sparse model does it" if task.solved else "not done"
        numbers = [number(value, percent) for value in (task.sparse_accuracy, task.dense_accuracy)]
        numbers += [number(value, loss) for value in (task.sparse_loss, task.dense_loss)]
        rows.append([row_head(task.name), *numbers, tag("td", verdict)])
    head = ["Task", "Accuracy, sparse", "Accuracy, dense", "Loss, sparse", "Loss, dense", "Outcome"]
    return table("Tasks, scored by the whole models", head, rows, ["Outcome"])


def stages_table(report: Report) -> Markup:
    """Seconds spent beside the budget of each stage."""
    rows = [
        [row_head(stage.name), number(stage.budget_seconds, seconds), number(stage.seconds, seconds)]
        for stage in report.stages
    ]  # fmt: skip
    rows.append([row_head("whole run"), tag("td"), number(report.seconds, seconds)])
    return table("Time spent", ["Stage", "Budget", "Spent"], rows)
