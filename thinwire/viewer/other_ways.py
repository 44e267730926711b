"""The table of other ways of choosing: what learned gates and the sweep buy."""

from collections.abc import Iterator

from thinwire.viewer.contract import Compared, Report, Side, Way, present
from thinwire.viewer.markup import Markup, join, tag
from thinwire.viewer.tables import number, row_head, table
from thinwire.viewer.wording import count, loss, percent, plural

_HEAD = ("Way", "Edges", "Loss", "Accuracy", "To the target", "Swept")
_NOTE = (
    "The same task in the same model, with edges chosen in other ways: as many as the circuit has, and their loss and "
    "accuracy on test pairs; then how many edges each way needs to meet the target on validation pairs, and how many a "
    "sweep of nodes leaves of these."
)


def other_ways(report: Report) -> Markup | None:
    """A table for each circuit that `thinwire baselines` has compared; None where it was not run."""
    tables = [
        join([table(f"{task}, {side}: ways of choosing, {plural(n_prompts, 'test prompt')}", _HEAD, rows), _gap(found)])
        for task, side, n_prompts, found in _compared(report)
        if (rows := [_row(way) for way in found.methods])
    ]
    return join([tag("h3", "Other ways of choosing"), tag("p", _NOTE), *tables]) if tables else None


def _gap(found: Compared) -> Markup | None:
    """What the integrated gradients leave unaccounted for: how far their order can be trusted."""
    if found.completeness_gap is None:
        return None
    words = (
        f"The integrated gradients behind both attributions miss {percent(found.completeness_gap)} of the loss that "
    )
    return tag("p", words, "they should add up to.", class_="note")


def _compared(report: Report) -> Iterator[tuple[str, Side, int, Compared]]:
    for task in report.tasks:
        for side in present(task.models):
            if found := task.models[side].baselines:
                yield task.name, side, task.models[side].n_test_prompts, found


def _row(way: Way) -> list[Markup]:
    return [
        row_head(way.method.replace("_", " ")),
        number(way.edges, count),
        number(way.test_loss, loss),
        number(way.test_accuracy, percent),
        number(way.n_edges_to_target, count),
        number(way.n_edges_swept, count),
    ]
