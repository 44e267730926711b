"""docs/results.md says what the stored frontier holds, and that is what the present code makes of its circuits."""

import json
from typing import Any

import pytest
from results_page import BLOCK, DOCS, FRONTIER, PAGE, generated

from thinwire.frontier.compare import SWEEPS, Cell
from thinwire.frontier.curve import ratio
from thinwire.frontier.points import CircuitPoint, ModelPoint


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    return json.loads(FRONTIER.read_text(encoding="utf-8"))


def test_the_tables_are_those_of_the_file() -> None:
    (found,) = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert found == generated(), "python tests/results_page.py"


def test_the_ratios_follow_from_the_circuits(stored: dict[str, Any]) -> None:
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


def test_the_words_around_them_have_the_files_numbers(stored: dict[str, Any]) -> None:
    """What the page says in sentences: the headline ratio with its interval, and the two losses that are compared."""
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    (head,) = [r for r in stored["ratios"] if (r["requirement"], r["counted"]) == ("sufficient", "n_edges")]
    said = (
        f"{head['ratio']:.1f} times (95 % interval {head['low']:.1f} to {head['high']:.1f}, {len(head['tasks'])} tasks"
    )
    assert said in page
    readme = " ".join((DOCS.parent / "README.md").read_text(encoding="utf-8").split())
    assert said in readme
    losses = {model["name"]: model["heldout_loss"] for model in stored["models"]}
    assert f"held-out loss {losses['headline']:.3f} nats" in page
    assert f"its twin at matched loss: {losses['twin']:.3f} nats" in page
    assert abs(losses["twin"] - losses["headline"]) < 0.02
    quotes = next(c for c in stored["circuits"] if (c["model"], c["task"]) == ("headline", "single_double_quote"))
    assert f"{quotes['cell']['n_nodes']} nodes, {quotes['cell']['n_edges']} edges" in page
