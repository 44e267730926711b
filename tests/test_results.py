"""docs/results.md says what the stored frontiers hold, and that is what the present code makes of their circuits."""

import json
from pathlib import Path
from typing import Any

import pytest
from results_page import BLOCK, DEMANDS, DOCS, FRONTIER, PAGE, generated

from thinwire.frontier.compare import SWEEPS, Cell
from thinwire.frontier.curve import ratio
from thinwire.frontier.points import CircuitPoint, ModelPoint


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def head(found: dict[str, Any], requirement: str, counted: str = "n_edges") -> dict[str, Any]:
    (one,) = [r for r in found["ratios"] if (r["requirement"], r["counted"]) == (requirement, counted)]
    return one


def words(one: dict[str, Any]) -> str:
    """A ratio as sentences give it: the mean, and every task's."""
    by_task = sorted(task["dense"] / task["sparse"] for task in one["tasks"])
    return f"{one['ratio']:.1f} times ({', '.join(f'{r:.1f}' for r in by_task)}"


def test_the_tables_are_those_of_the_files() -> None:
    assert BLOCK.findall(PAGE.read_text(encoding="utf-8")) == generated(), "python tests/results_page.py"


@pytest.mark.parametrize("path", [FRONTIER, DEMANDS], ids=lambda path: path.stem)
def test_the_ratios_follow_from_the_circuits(path: Path) -> None:
    stored = read(path)
    models = [ModelPoint(**row) for row in stored["models"]]
    circuits = [
        CircuitPoint(**{**row, "cell": Cell(**{**row["cell"], "why_not": tuple(row["cell"]["why_not"])})})
        for row in stored["circuits"]
    ]
    sparse = [model for model in models if model.kind == "sparse"]
    for row in stored["ratios"]:
        assert row["counted"] in SWEEPS
        group = [model for model in sparse if model.group == row["group"]]
        found = ratio(group, models, circuits, row["requirement"], row["counted"])
        assert (found.ratio, found.low, found.high) == (row["ratio"], row["low"], row["high"])
        assert dict(found.left_out) == row["left_out"]


def test_the_words_around_them_have_the_files_numbers() -> None:
    """What the pages say in sentences: the ratios task by task, and the two losses that are compared."""
    stored, page = read(FRONTIER), " ".join(PAGE.read_text(encoding="utf-8").split())
    before, after = head(stored, "sufficient", "n_edges_unswept"), head(stored, "sufficient")
    robust = head(read(DEMANDS), "robust")
    assert {task["task"] for task in robust["tasks"]} == {task["task"] for task in after["tasks"]}
    assert all(words(one) in page for one in (before, after, robust))
    readme = " ".join((DOCS.parent / "README.md").read_text(encoding="utf-8").split())
    assert all(words(one) in readme for one in (after, robust))
    losses = {model["name"]: model["heldout_loss"] for model in stored["models"]}
    assert f"held-out loss {losses['headline']:.3f} nats" in page
    assert f"its twin at matched loss: {losses['twin']:.3f} nats" in page
    assert abs(losses["twin"] - losses["headline"]) < 0.02
    quotes = next(c for c in stored["circuits"] if (c["model"], c["task"]) == ("headline", "single_double_quote"))
    assert f"{quotes['cell']['n_nodes']} nodes, {quotes['cell']['n_edges']} edges" in page


def test_the_page_counts_solved_circuits_as_the_file_has_them() -> None:
    """Of the circuits behind the ratio: the sparse ones, and the dense ones at both ends of each task's line."""
    stored = read(FRONTIER)
    cells = {(c["model"], c["task"]): c["cell"] for c in stored["circuits"]}
    behind = [
        cells[name, task["task"]]
        for task in head(stored, "sufficient")["tasks"]
        for name in (task["model"], *task["between"])
    ]
    assert (len(behind), sum(cell["solved"] for cell in behind)) == (9, 3)
    missed = [cell["heldout_loss"] for cell in behind if not cell["solved"]]
    assert (round(min(missed), 2), round(max(missed), 2)) == (0.17, 0.25)
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert "Of the nine circuits behind the ratio" in page and "three are solved on test pairs" in page
