"""Baselines choose by their own scores and are judged like a learned circuit."""

import json
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch
from micro_model import copy_model
from tiny_world import quick

from thinwire.circuits.ablation import isolate
from thinwire.circuits.artefact import evaluate_circuit, load_circuit
from thinwire.circuits.edges import induced_edges
from thinwire.circuits.prompts import Prompts, logit_difference, task_loss
from thinwire.cli.main import main
from thinwire.model.checkpoint import fingerprint
from thinwire.model.hooks import Hook, identity
from thinwire.pruning.baselines import (
    METHODS,
    at_most_edges,
    choose_otherwise,
    edges_by_score,
    touched,
)
from thinwire.pruning.config import PruneConfig
from thinwire.pruning.describe import FoundCircuit, Identity, Problem, describe
from thinwire.pruning.edge_curves import edge_counts, first_gates, follow, node_curve
from thinwire.pruning.importance import attribution, weight_magnitude
from thinwire.runs.run import load_run


@cache
def problem() -> Problem:
    hand = copy_model()
    return Problem(hand.model, hand.pairs, hand.means, Identity(hand.task, 1, fingerprint(hand.model), "0" * 64))


def an_order(seed: int = 0) -> torch.Tensor:
    return torch.randperm(problem().model.space.n_nodes, generator=torch.Generator().manual_seed(seed))


def test_attribution_puts_the_true_circuit_first() -> None:
    """Distractors reach the answers through norms and competition alone: their share is small."""
    hand = copy_model()
    nodes = attribution(problem()).nodes
    inside = torch.zeros(len(nodes), dtype=torch.bool)
    start = 0
    for site, width in hand.model.space.widths.items():
        inside[[start + channel for channel in hand.nodes.get(site, [])]] = True
        start += width
    assert inside[nodes.argmax()]
    assert float(nodes[inside].abs().mean()) > 10 * float(nodes[~inside].abs().mean())


def test_the_completeness_gap_is_what_the_credits_miss() -> None:
    found, hand = attribution(problem()), copy_model()
    prompts = Prompts.of(hand.pairs["train"]).pairs(torch.arange(64))

    def loss(hook: Hook = identity) -> float:
        return float(task_loss(logit_difference(hand.model, prompts, hook), prompts.sign))

    between = loss(isolate(hand.model, {}, hand.means)) - loss()
    assert between > 0.5
    assert found.gap == pytest.approx(abs(1 - float(found.nodes.sum()) / between), abs=1e-4)


def test_magnitude_sums_weights_in_and_out() -> None:
    model = problem().model
    total = weight_magnitude(model)
    names = ("q", "k", "v")
    expected = sum(float(model.get_parameter(f"blocks.0.attn.{n}.weight")[:, 3].abs().sum()) for n in names)
    start = list(model.space.widths).index("0.attn.in") * model.config.d_model
    assert float(total[start + 3]) == pytest.approx(expected, rel=1e-5)


def test_edges_are_counted_along_an_order_as_if_each_set_were_listed() -> None:
    model, order = problem().model, an_order()
    counts = edge_counts(model, order)
    assert len(counts) == len(order) + 1 and int(counts[0]) == 0
    for k in (1, 7, 40, len(order) // 2, len(order)):
        assert int(counts[k]) == len(induced_edges(model, model.space.nodes(first_gates(order, k))))


@pytest.mark.parametrize("n_edges", [0, 7, 40])
def test_a_beginning_of_an_order_has_at_most_so_many_edges_and_is_the_longest(n_edges: int) -> None:
    model, order = problem().model, an_order()
    nodes = at_most_edges(model, order, n_edges)
    longer = model.space.nodes(first_gates(order, sum(map(len, nodes.values())) + 1))
    assert len(induced_edges(model, nodes)) <= n_edges < len(induced_edges(model, longer))


def test_edges_come_by_falling_score_and_their_nodes_are_kept() -> None:
    model = problem().model
    scores = {name: model.get_parameter(name).detach() for name in problem().model.space.matrices}  # pyright: ignore
    ordered = edges_by_score(model, scores)
    assert [e.weight for e in ordered] == sorted((e.weight for e in ordered), reverse=True)
    nodes = touched(model, ordered[:5])
    assert all(e.source in nodes[e.source_site] and e.target in nodes[e.target_site] for e in ordered[:5])


def test_a_curve_ends_in_the_smallest_size_that_it_found_to_meet_the_target() -> None:
    """The true circuit first: its last node decides, so one node less misses the target."""
    hand, model = copy_model(), problem().model
    inside = torch.cat(
        [
            torch.isin(torch.arange(width), torch.tensor(hand.nodes.get(s, [])))
            for s, width in model.space.widths.items()
        ]
    )
    order = torch.cat([inside.nonzero().flatten(), (~inside).nonzero().flatten()])
    validation = problem().engines["validation"]
    curve = node_curve(model, validation, order, 0.15, torch.device("cpu"))
    assert curve.n_kept and curve.n_edges and curve.n_kept == int(inside.sum())
    assert curve.n_edges == len(induced_edges(model, hand.nodes))
    assert validation.loss(first_gates(order, curve.n_kept - 1)) > 0.15
    assert dict(curve.points)[curve.n_edges] <= 0.15
    assert node_curve(model, validation, order, -1.0, torch.device("cpu")).n_edges is None


def test_a_curve_is_bisected_to_the_size_that_decides() -> None:
    """Losses are made up: the target is first met at 37 items, which have 74 edges."""
    curve = follow([1, 10, 100], lambda n: 1.0 if n < 37 else 0.1, 0.15, lambda n: 2 * n)
    assert (curve.n_kept, curve.n_edges) == (37, 74)
    assert [edges for edges, _ in curve.points] == sorted(edges for edges, _ in curve.points)
    assert dict(curve.points)[72] == 1.0 and dict(curve.points)[74] == 0.1


@pytest.mark.slow
def test_every_baseline_is_an_artefact_of_equal_size() -> None:
    config = PruneConfig(steps=10)
    nodes = copy_model().nodes
    learned = describe(problem(), FoundCircuit(nodes, True, []), config)
    found, gap = choose_otherwise(problem(), learned, config, sweep=True)
    assert gap == attribution(problem()).gap
    assert tuple(found) == METHODS
    for name, baseline in found.items():
        size = baseline.circuit.n_minimal_edges if name == "edge_attribution" else baseline.circuit.n_edges
        assert size is not None and size <= learned.n_edges
        scores = baseline.circuit.scores if baseline.circuit.minimal_scores is None else baseline.circuit.minimal_scores
        assert set(scores) == {"train", "validation", "test"}
        assert (baseline.circuit.status == "solved") == (scores["validation"].loss <= learned.target_loss)
        if name != "edge_attribution":
            assert baseline.swept is not None and baseline.swept.status == "solved"
            assert baseline.curve.n_edges is not None and baseline.swept.n_edges <= baseline.curve.n_edges


@pytest.mark.slow
def test_the_verb_compares_stores_and_tells(
    pruned_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shutil.copytree(pruned_path, tmp_path / "run")
    assert main(["baselines", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (row,) = found["tasks"]
    assert found["rule"].startswith("Of a task's circuits with default settings this is the smallest")
    assert [method["method"] for method in row["methods"]] == ["gates and sweep", *METHODS]
    learned, *others = row["methods"]
    assert all(method["edges"] <= learned["edges"] for method in others)
    run = load_run(path)
    stored = load_circuit(path / "baselines" / "own" / f"{quick().settings_hash()}-random" / "0")
    assert evaluate_circuit(run.model, stored).loss == pytest.approx(others[-1]["test_loss"], abs=1e-6)
    assert json.loads((Path(found["paths"]["own"]) / "baselines.json").read_text())["curves"] == row["curves"]
    assert main(["baselines", str(path), "own"]) == 0
    shown = capsys.readouterr().out
    assert "edge attribution" in shown and "edges to target" in shown
    pytest.importorskip("matplotlib")
    assert main(["plot", str(path), "--json"]) == 0
    (figure,) = (f for f in json.loads(capsys.readouterr().out)["figures"] if "baselines-own" in f)
    assert all(method.replace("_", " ") in Path(figure).read_text() for method in METHODS)


def test_without_a_circuit_the_verb_says_how_to_find_one(tiny_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["baselines", str(tiny_path), "while_return_true"]) == 2
    error = capsys.readouterr().err
    assert f"{tiny_path} holds no circuits; find some with: thinwire prune {tiny_path} " in error
