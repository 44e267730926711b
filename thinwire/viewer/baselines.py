"""The table of other ways of choosing: what learned gates and the sweep buy."""

from collections.abc import Iterator, Mapping
from typing import Any

from thinwire.viewer.markup import Markup, join, tag
from thinwire.viewer.sides import present
from thinwire.viewer.tables import number, row_head, table
from thinwire.viewer.wording import count, loss, percent

_HEAD = ("Way", "Edges", "Loss", "Accuracy", "To the target", "Swept")
_NOTE = (
    "The same task in the same model, with edges chosen in other ways: as many as the circuit has, and their loss and "
    "accuracy on test pairs; then how many edges each way needs to meet the target on validation pairs, and how many a "
    "sweep of nodes leaves of these."
)


def baselines(report: Mapping[str, Any]) -> Markup:
    """A table for each circuit that `thinwire baselines` has compared; nothing where it was not run."""
    tables = [
        table(f"{task}, {side}: ways of choosing", _HEAD, [_row(way) for way in found["methods"]])
        for task, side, found in _compared(report)
    ]
    return join([tag("h3", "Other ways of choosing"), tag("p", _NOTE), *tables]) if tables else Markup("")


def _compared(report: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for task in report["tasks"]:
        for side in present(task):
            if found := task[side].get("baselines"):
                yield task["name"], side, found


def _row(way: Mapping[str, Any]) -> list[Markup]:
    return [
        row_head(way["method"].replace("_", " ")),
        number(way["edges"], count),
        number(way["test_loss"], loss),
        number(way["test_accuracy"], percent),
        number(way["n_edges_to_target"], count),
        number(way["n_edges_swept"], count),
    ]
