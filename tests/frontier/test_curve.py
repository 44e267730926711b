"""Ratios at equal loss, their intervals and the table of means: by hand, by property and by brute force."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinwire.frontier.compare import Cell
from thinwire.frontier.curve import TaskRatio, full_table, interpolated, interval, pareto, ratio, sizes
from thinwire.frontier.points import CircuitPoint, Kind, ModelPoint, kind_of


def model(name: str, kind: Kind, loss: float, group: str = "") -> ModelPoint:
    return ModelPoint(name, kind, group or name, 2, 32, 1.0, 1000, 0, 100, 100, loss, f"runs/{name}")


def circuit(name: str, task: str, edges: int | None, *, does: bool = True, met: bool = True, seed: int = 0):
    solved = does and edges is not None
    why = () if solved else ("no",)
    cell = Cell(solved, does, edges is not None, why, None, 256, 0.05, 0.99, 3, edges, edges, edges)
    return CircuitPoint(name, task, "sufficient", seed, met, cell)


MODELS = (model("wide", "dense", 3.0), model("narrow", "dense", 3.4), model("s", "sparse", 3.2))
CIRCUITS = (
    *(circuit("wide", task, edges) for task, edges in (("a", 400), ("b", 90), ("c", None))),
    *(circuit("narrow", task, edges) for task, edges in (("a", 100), ("b", 90), ("c", 100))),
    *(circuit("s", task, edges) for task, edges in (("a", 10), ("b", 3), ("c", 5), ("d", 7))),
)


def test_the_dense_size_is_read_off_between_its_neighbours_in_the_logarithm() -> None:
    """Halfway in loss between 400 and 100 edges are 200, not 250."""
    found = ratio(MODELS[2:], MODELS, CIRCUITS, "sufficient", "n_edges")
    assert [row.task for row in found.tasks] == ["a", "b"]
    assert [row.sparse for row in found.tasks] == pytest.approx([10, 3])
    assert [row.dense for row in found.tasks] == pytest.approx([200, 90])
    assert found.ratio == pytest.approx(math.sqrt(20 * 30))
    assert (found.low, found.high) == (None, None)  # two tasks are too few


def test_what_does_not_enter_is_named_with_its_reason() -> None:
    found = ratio(MODELS[2:], MODELS, CIRCUITS, "sufficient", "n_edges")
    assert set(found.left_out) == {"c", "d"}
    why = "no dense model of a loss as low as s's does it, with a circuit that meets what was asked"
    assert found.left_out == {"c": why, "d": why}


def test_the_nearest_that_do_the_task_are_taken() -> None:
    """One nearer in loss that does not do it is passed over."""
    nearer = [model("near", "dense", 3.19), model("nearer", "dense", 3.21)]
    more = [circuit("near", "a", None), circuit("nearer", "a", 8, does=False), circuit("near", "b", 30)]
    found = ratio(MODELS[2:], [*MODELS, *nearer], [*CIRCUITS, *more], "sufficient", "n_edges")
    assert [row.between for row in found.tasks] == [("wide", "narrow"), ("near", "narrow")]


@pytest.mark.parametrize(("loss", "side"), [(2.9, "low"), (3.5, "high")])
def test_nothing_is_extrapolated(loss: float, side: str) -> None:
    alone = model("s", "sparse", loss)
    found = ratio([alone], [*MODELS[:2], alone], CIRCUITS, "sufficient", "n_edges")
    assert found.ratio is None and not found.tasks
    assert found.left_out["a"].startswith(f"no dense model of a loss as {side} as s's does it")


def test_a_task_counts_where_the_model_does_it_and_every_seed_met_what_was_asked() -> None:
    rows = [circuit("m", "a", 8), circuit("m", "a", 2, seed=1), circuit("m", "b", 4, does=False)]
    rows += [circuit("m", "c", 4), circuit("m", "c", 4, seed=1, met=False), circuit("m", "d", None)]
    assert sizes(rows, "sufficient", "n_edges") == {("m", "a"): pytest.approx(4)}
    assert sizes(rows, "robust", "n_edges") == {}


def test_kinds_by_weights_and_activations() -> None:
    assert [kind_of(*one) for one in ((0.1, 0.25), (1.0, 1.0), (0.1, 1.0), (1.0, 0.25))] == [
        *("sparse", "dense", "sparse, no AbsTopK", "dense, AbsTopK")
    ]


curves = st.lists(st.tuples(st.floats(1, 5), st.floats(1, 1e6)), min_size=1, max_size=8)


@given(curves, st.floats(0, 6))
def test_a_curve_passes_through_its_points_and_stays_between_them(curve: list[tuple[float, float]], at: float) -> None:
    losses = [loss for loss, _ in curve]
    found = interpolated(curve, at)
    assert (found is None) == (not min(losses) <= at <= max(losses))
    if found is not None:
        assert min(size for _, size in curve) * (1 - 1e-9) <= found <= max(size for _, size in curve) * (1 + 1e-9)
    for loss in losses:
        same = [math.log(size) for other, size in curve if other == loss]
        assert interpolated(curve, loss) == pytest.approx(math.exp(sum(same) / len(same)))


def test_seeds_of_a_dense_model_are_one_point_of_the_curve() -> None:
    """Sizes 300 and 1,200 at losses 3.0 and 3.2 count as 600 at 3.1."""
    seeds = [model("d", "dense", 3.0, "d"), model("d-s1", "dense", 3.2, "d"), model("s", "sparse", 3.1)]
    more = [circuit("d", "a", 300), circuit("d-s1", "a", 1200), circuit("s", "a", 6)]
    (row,) = ratio(seeds[2:], seeds, more, "sufficient", "n_edges").tasks
    assert (row.dense, row.between) == (pytest.approx(600), ("d and d-s1", "d and d-s1"))


def test_an_interval_needs_five_tasks_and_covers_a_known_spread() -> None:
    """The mean of n logarithms of standard deviation s has an interval of about 2 x 1.96 s / sqrt(n)."""
    five = [TaskRatio("m", f"t{i}", 1.0, 10.0 + i, ("d", "d")) for i in range(5)]
    assert interval(five[:4]) == (None, None) != interval(five)
    assert interval([TaskRatio("m", "a", 1.0, 10.0, ("d", "d"))]) == (None, None)
    logs = np.random.default_rng(1).normal(2.0, 0.5, 200)
    low, high = interval([TaskRatio("m", f"t{i}", 1.0, math.exp(x), ("d", "d")) for i, x in enumerate(logs)])
    assert low is not None and high is not None
    assert math.log(high) - math.log(low) == pytest.approx(2 * 1.96 * logs.std() / math.sqrt(200), rel=0.1)
    assert math.log(low) < logs.mean() < math.log(high)


def test_models_that_differ_widen_the_interval() -> None:
    """Two models, 2 and 8 times smaller on every task: drawn alone, each is an end of the interval."""
    rows = [TaskRatio(m, f"t{i}", 1.0, r, ("d", "d")) for m, r in (("x", 2.0), ("y", 8.0)) for i in range(50)]
    low, high = interval(rows)
    assert low is not None and high is not None
    assert low < 3.9 and high > 4.1
    alike = interval([TaskRatio(m, f"t{i}", 1.0, 4.0, ("d", "d")) for m in "xy" for i in range(50)])
    assert alike == (pytest.approx(4), pytest.approx(4))


NAMES = ("d1", "d2", "s1", "s2")
LISTED = tuple(model(name, "dense" if name[0] == "d" else "sparse", 3.0) for name in NAMES)


@given(st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from("abcd"))))
def test_the_table_is_the_fullest(pairs: set[tuple[str, str]]) -> None:
    found = {pair: 2.0 + len(pair[1]) for pair in pairs}
    best = 0
    for n_models in range(1, 5):
        for names in combinations(NAMES, n_models):
            if {"d", "s"} <= {name[0] for name in names}:
                tasks = [task for task in "abcd" if all((name, task) in found for name in names)]
                best = max(best, len(names) * len(tasks))
    table = full_table(LISTED, found)
    assert len(table.models) * len(table.tasks) == best
    assert all((name, task) in found for name in table.models for task in table.tasks)
    assert set(table.means) == set(table.models)


def test_the_front_holds_what_nothing_beats() -> None:
    points = {"a": (3.0, 100.0), "b": (3.2, 20.0), "c": (3.3, 50.0), "d": (3.0, 120.0), "e": (3.4, 10.0)}
    assert pareto(points) == ("a", "b", "e")
