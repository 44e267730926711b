"""What a person reads when a verb is done."""

import pytest

from thinwire.cli.tables import new_console
from thinwire.cli.verbs.demo import show

CELL = {"solved": True, "model_does": True, "circuit_does": True, "why_not": [], "verdict": "sufficient only"}
CELL |= {"n_test_pairs": 256, "n_nodes": 28, "n_edges": 22, "n_edges_unswept": 30, "n_minimal_edges": 20}
CELL |= {"heldout_loss": 0.1215, "heldout_accuracy": 0.98}
MEANS = {"sparse": 17.5, "dense": 241.6, "ratio": 13.8}


def test_the_demo_ends_with_tables_and_the_path_of_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        new_console(),
        {
            "heldout_loss": {"sparse": 3.619, "dense": 3.591},
            "tasks": {"quotes": {"sparse": CELL, "dense": CELL | {"n_edges": 209}}, "brackets": {"sparse": CELL}},
            "tasks_compared": ["quotes"],
            "tasks_left_out": {"brackets": "dense: the whole model is right on 75.8% of the test prompts"},
            "geomean_edges": {"sparse": 17.5, "dense": 241.6},
            "edge_ratio": 13.8,
            "sweeps": {
                "n_edges_unswept": MEANS | {"ratio": 16.6},
                "n_edges": MEANS,
                "n_minimal_edges": MEANS | {"ratio": None},
            },
            "seconds": 457.0,
            "report": "runs/demo/report.html",
            "stages": [{"name": "train sparse", "budget_seconds": 280, "seconds": 261.0}],
        },
    )
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert any("quotes" in line and "dense" in line and "209" in line for line in lines)
    assert any("sufficient only" in line for line in lines)
    assert "over 1 of 2 tasks, those that both whole models do" in " ".join(out.split())
    assert any("brackets is left out" in line and "75.8%" in line for line in lines)
    assert any("before the sweep of nodes" in line and "16.6" in line and "241.6" in line for line in lines)
    assert any("train sparse" in line and "4:21" in line for line in lines)
    assert any("runs/demo/report.html" in line for line in lines)
    assert "n_edges_unswept" not in out and "budget_seconds" not in out
