"""The table of costs: what it predicts, and that a run keeps the one that it started with."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree

import pytest
from tiny_world import tiny_config

from thinwire.runs import run as run_module
from thinwire.runs.run import load_run
from thinwire.sparsity.costs import Cost, CostTable, cheapest, default_costs
from thinwire.training.config import RunConfig
from thinwire.workflows.train import train

NONZEROS_ALWAYS = Cost(dense=1.0, sparse=0.0, per_nonzero=0.0)


def crossing(rows: int, columns: int, share: float) -> float:
    """Density below which the shipped table takes the product over nonzeros, at a share of kept activations."""
    costs, size = default_costs([(rows, columns)]), rows * columns
    taken = [n for n in range(1000) if cheapest(costs, (rows, columns), n * size // 1000, share) == "weights"]
    return max(taken) / 1000


def test_the_shipped_table_turns_where_both_products_were_measured_to_take_the_same_time() -> None:
    # One core, forward and input gradient, 2048 (width 1024: 1024) tokens; see the notebook.
    measured = {(256, 256): 0.39, (1024, 256): 0.35, (512, 512): 0.36, (2048, 512): 0.29, (4096, 1024): 0.23}
    for shape, density in measured.items():
        assert crossing(*shape, share=1.0) == pytest.approx(density, abs=0.05), shape


def test_a_quarter_of_the_activations_pays_in_every_matrix_of_whole_spans() -> None:
    for shape in ((128, 128), (256, 256), (1024, 256), (4096, 1024)):
        assert cheapest(default_costs([shape]), shape, shape[0] * shape[1], 0.25) == "activations", shape
        assert 0.1 < crossing(*shape, share=0.25) < crossing(*shape, share=1.0)
    assert cheapest(default_costs([(128, 96)]), (128, 96), 128 * 96, 0.25) == "dense"


def small(corpus: Path) -> RunConfig:
    config = tiny_config(corpus, d_model=32, density=0.3, steps=4)
    return replace(config, costs="measured", train=replace(config.train, checkpoint_every_steps=2))


def test_measured_costs_are_measured_once_stored_and_read_again_on_resume(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def once(shapes: list[tuple[int, int]], n_tokens: int) -> CostTable:
        calls.append((shapes, n_tokens))
        return dict.fromkeys(sorted(set(shapes)), NONZEROS_ALWAYS)

    monkeypatch.setattr(run_module, "measure_costs", once)
    whole = train(small(tiny_corpus), tmp_path / "whole")
    stored = load_run(tmp_path / "whole").costs
    assert calls == [([(32, 32), (128, 32), (32, 128), (448, 32)], 16 * 32)]
    assert stored == dict.fromkeys(sorted(calls[0][0]), NONZEROS_ALWAYS)

    copytree(tmp_path / "whole", tmp_path / "cut")
    rmtree(tmp_path / "cut" / "checkpoints" / "step-00000004")
    resumed = train(None, tmp_path / "cut", resume=True)
    assert len(calls) == 1
    assert resumed.fingerprint == whole.fingerprint
    shipped = train(replace(small(tiny_corpus), costs="shipped"), tmp_path / "shipped")
    assert len(calls) == 1
    assert load_run(tmp_path / "shipped").costs == default_costs(calls[0][0])
    assert shipped.fingerprint != whole.fingerprint  # another table is another rounding, so the above can fail
    assert shipped.heldout_loss == pytest.approx(whole.heldout_loss, rel=1e-4)


def test_a_machine_is_timed_when_a_run_asks_for_it(tiny_corpus: Path, tmp_path: Path) -> None:
    train(small(tiny_corpus), tmp_path / "run")
    costs = load_run(tmp_path / "run").costs
    assert costs.keys() == {(32, 32), (128, 32), (32, 128), (448, 32)}
    assert costs != default_costs(list(costs))
    assert all(cost.dense > 0 for cost in costs.values())
