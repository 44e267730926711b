"""What a person reads when a verb is done."""

from dataclasses import replace
from pathlib import Path

import pytest
from hand_circuit import circuit_of

from thinwire.circuits.graph import Score
from thinwire.cli.console import duration
from thinwire.cli.tables import new_console
from thinwire.cli.verbs.demo import show
from thinwire.cli.verbs.prune import show as show_prune
from thinwire.cli.verbs.train import show as show_train
from thinwire.frontier.compare import Cell
from thinwire.viewer.contract import Stage
from thinwire.workflows.demo import DemoResult
from thinwire.workflows.pruned import prune_result
from thinwire.workflows.train import TimedPlan

CELL = Cell(
    solved=True,
    model_does=True,
    circuit_does=True,
    why_not=(),
    verdict="sufficient only",
    n_test_pairs=256,
    model_loss=0.1,
    model_accuracy=0.99,
    n_nodes=28,
    n_edges=22,
    n_edges_unswept=30,
    n_minimal_edges=20,
    heldout_loss=0.1215,
    heldout_accuracy=0.98,
)
MEANS: dict[str, float | None] = {"sparse": 17.5, "dense": 241.6, "ratio": 13.8}


def test_the_demo_ends_with_tables_and_the_path_of_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        new_console(),
        DemoResult(
            heldout_loss={"sparse": 3.619, "dense": 3.591},
            tasks={"quotes": {"sparse": CELL, "dense": replace(CELL, n_edges=209)}, "brackets": {"sparse": CELL}},
            tasks_compared=["quotes"],
            tasks_left_out={"brackets": "dense: the whole model is right on 75.8% of the test prompts"},
            geomean_edges={"sparse": 17.5, "dense": 241.6},
            edge_ratio=13.8,
            sweeps={
                "n_edges_unswept": MEANS | {"ratio": 16.6},
                "n_edges": MEANS,
                "n_minimal_edges": MEANS | {"ratio": None},
            },
            seconds=457.0,
            report="runs/demo/report.html",
            stages=(Stage("train sparse", 280.0, 261.0),),
        ),
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


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.84, "0.8s"), (42, "42s"), (125, "2:05"), (3723, "1:02:03"), (3 * 86_400, "3.0 days"), (2.925e8, "9.3 years")],
)
def test_times_are_written_in_units_that_a_person_grasps(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_dry_run_says_how_long_and_how_much_memory_in_all(capsys: pytest.CaptureFixture[str]) -> None:
    memory = {"weights, gradients and moments": 3 << 30, "activations": 9 << 30}
    plan = TimedPlan("paper-4x", 100_000_000, 5_000_000, 1000, 2000, memory, threads=1, seconds=2.925e8)
    show_train(new_console(), plan)
    out = capsys.readouterr().out
    assert "about 9.3 years" in out and "seconds" not in out
    assert "12.0 GiB for each process: 3,072.0 MiB weights, gradients and moments, 9,216.0 MiB activations" in out
    show_train(new_console(), replace(plan, seconds=None))
    assert "does not fit in memory" in capsys.readouterr().out


def test_prunes_table_says_whether_the_model_does_it_and_what_was_verified(capsys: pytest.CaptureFixture[str]) -> None:
    """Every circuit with its own path, names with underscores; a circuit of a model that guesses is not solved."""
    whole = dict.fromkeys(("train", "validation", "test"), Score(0.69, 0.62, 0.0, 0.01, 20))
    circuits = {Path(f"runs/x/else_elif/{seed}"): circuit_of(task="else_elif", seed=seed) for seed in (0, 1)}
    circuits |= {Path("runs/x/guess/0"): circuit_of(task="my_guess", model_scores=whole, scores=whole)}
    show_prune(new_console(), prune_result("runs/x", circuits, {Path("runs/x/guess/0"): "faithful"}, {}))
    out = " ".join(capsys.readouterr().out.split())
    assert "runs/x/else_elif/0" in out and "runs/x/else_elif/1" in out
    assert "else_elif, steps=3, seed 1" in out
    assert "unverified" in out
    assert "not solved: the whole model is right on 62.0% of the test prompts at a loss of 0.690 ± 0.010" in out
    assert "only 20 test pairs" in out
    assert "whose verdict (faithful) is void; verify it again" in out
