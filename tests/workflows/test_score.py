"""Circuits of others are measured by test pairs, all in one way; what their files state counts nothing."""

import json
from pathlib import Path

import pytest
import torch
from tiny_world import SOLVED

from thinwire.circuits.edges import induced_edges
from thinwire.circuits.graph import Edge
from thinwire.cli.main import main
from thinwire.errors import MissingFile, UserError
from thinwire.model.names import lens_name
from thinwire.model.nodes import list_nodes
from thinwire.runs.run import Run
from thinwire.workflows.score import ScoredCircuit, score_circuits
from thinwire.workflows.tasks import check_task


def everything(run: Run) -> dict[str, list[int]]:
    return {site: list(channels) for site, channels in run.model.space.everything().items()}


def some_nodes(run: Run) -> dict[str, list[int]]:
    """Every fourth channel of the layer's sites; what embeds and unembeds is whole, as in published circuits."""
    return {site: list(c if site in ("embed", "final") else c[::4]) for site, c in everything(run).items()}


def write(path: Path, values: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
    return path


def scored(run: Run, folder: Path, target_loss: float | None = None) -> list[ScoredCircuit]:
    return list(score_circuits(run.path, folder, target_loss=target_loss, device="cpu").circuits)


def test_the_whole_model_is_a_circuit_that_does_what_the_model_does(tiny_run: Run, tmp_path: Path) -> None:
    write(tmp_path / f"{SOLVED}.json", {"nodes": everything(tiny_run)})
    found = score_circuits(tiny_run.path, tmp_path, device="cpu")
    (row,) = found.circuits
    whole = check_task(tiny_run, SOLVED, "test")
    assert row.loss == pytest.approx(whole.loss, abs=1e-5) and row.accuracy == whole.accuracy
    assert row.kl == pytest.approx(0, abs=1e-5)
    assert (row.solved, row.model_does, row.needed) == (True, True, False)  # nothing was chosen, so nothing is removed
    assert row.loss_without == pytest.approx(whole.loss, abs=1e-5)
    assert row.n_nodes == tiny_run.model.space.n_nodes
    assert row.n_edges == len(induced_edges(tiny_run.model, everything(tiny_run)))
    assert (found.n_tasks, found.n_tasks_solved) == (1, 1) and found.geomean_edges == pytest.approx(row.n_edges)


def test_what_a_file_says_of_itself_counts_nothing(tiny_run: Run, tmp_path: Path) -> None:
    """A circuit of one node guesses, with whatever target and verdict, and with easier pairs and means beside it."""
    empty = {"nodes": {"embed": [0]}, "status": "solved", "target_loss": 50.0, "norm_scales": "whole"}
    write(tmp_path / "a" / f"{SOLVED}.json", empty)
    write(tmp_path / "b" / SOLVED / "circuit.json", empty)
    for name in ("pairs.safetensors", "means.safetensors"):
        (tmp_path / "b" / SOLVED / name).write_bytes(b"nothing that could be read")
    (first,), (second,) = (scored(tiny_run, tmp_path / folder) for folder in "ab")
    assert not first.solved and first.model_does and first.accuracy == pytest.approx(0.5, abs=0.05)
    assert (first.loss, first.accuracy, first.solved) == (second.loss, second.accuracy, second.solved)
    assert scored(tiny_run, tmp_path / "a", target_loss=100.0)[0].solved is False  # right on half of the prompts


def test_stated_edges_are_the_ones_that_carry(tiny_run: Run, tmp_path: Path) -> None:
    nodes = some_nodes(tiny_run)
    edges = induced_edges(tiny_run.model, nodes)
    fewer = [edge for edge in edges if edge.target_site != "0.mlp.out"]
    write(tmp_path / "none" / f"{SOLVED}.json", {"nodes": nodes})
    write(tmp_path / "all" / f"{SOLVED}.json", {"nodes": nodes, "edges": [list(edge[:4]) for edge in edges]})
    write(tmp_path / "fewer" / f"{SOLVED}.json", {"nodes": nodes, "edges": [list(edge[:4]) for edge in fewer]})
    (none,), (whole,), (part,) = (scored(tiny_run, tmp_path / folder) for folder in ("none", "all", "fewer"))
    assert none.loss == whole.loss and part.loss != whole.loss
    assert (none.n_edges, whole.n_edges, part.n_edges) == (len(edges), len(edges), len(fewer))


def named(run: Run, nodes: dict[str, list[int]], edges: list[Edge]) -> dict[str, object]:
    """A circuit by TransformerLens' names."""
    ends = [[lens_name(e.source_site), e.source, lens_name(e.target_site), e.target] for e in edges]
    return {"nodes": {lens_name(site): channels for site, channels in nodes.items()}, "edges": ends}


def test_every_way_to_write_a_circuit_is_the_same_circuit(tiny_run: Run, tmp_path: Path) -> None:
    """Ours, TransformerLens' names, lists by hook, a claim of `import-circuit`, a file of tensors."""
    nodes = some_nodes(tiny_run)
    edges = induced_edges(tiny_run.model, nodes)
    write(tmp_path / "ours" / f"{SOLVED}.json", {"nodes": nodes})
    write(tmp_path / "lens" / f"{SOLVED}.json", named(tiny_run, nodes, edges))
    released = {"0.attn.in": "0.attn.act_in", "0.mlp.in": "0.mlp.act_in", "0.mlp.neuron": "0.mlp.post_act"}
    released |= {"0.attn.out": "0.attn.resid_delta", "0.mlp.out": "0.mlp.resid_delta"}
    lists = {released.get(site, site): channels for site, channels in nodes.items() if site not in ("embed", "final")}
    write(tmp_path / "hooks" / f"{SOLVED}.json", lists)
    (tmp_path / "tensors").mkdir()
    torch.save({"circuit_data": {k: torch.tensor(v) for k, v in lists.items()}}, tmp_path / "tensors" / f"{SOLVED}.pt")
    words = [str(tiny_run.path), str(tmp_path / "hooks" / f"{SOLVED}.json"), "--task", SOLVED]
    assert main(["import-circuit", *words, "--out", str(tmp_path / "claims" / "any-name")]) == 0
    rows = [scored(tiny_run, tmp_path / folder)[0] for folder in ("ours", "lens", "hooks", "tensors", "claims")]
    assert len({(row.task, row.n_nodes, row.n_edges, row.loss, row.accuracy, row.loss_without) for row in rows}) == 1
    assert rows[0].n_nodes == len(list_nodes(nodes)) and rows[0].n_edges == len(edges)


def test_files_that_are_wrong_cost_the_others_nothing(
    tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = {"0.mlp.neuron": [1]}
    write(tmp_path / f"{SOLVED}.json", {"nodes": nodes})
    write(tmp_path / "no_such_task.json", {"nodes": nodes})
    write(tmp_path / "if_equals.json", {"nodes": {"0.mlp.neuron": [10**6]}})
    write(tmp_path / "with_as.json", {"nodes": nodes, "model_fingerprint": "0" * 64})
    write(tmp_path / "with_open.json", {"nodes": nodes, "task": SOLVED})
    write(tmp_path / "var_if.json", {"nodes": nodes, "edges": [["0.mlp.in", 0, "0.mlp.neuron", 1]]})
    write(tmp_path / "class_init.json", {"nodes": nodes, "edges": [3]})
    write(tmp_path / "lambda_func.json", {"nodes": {"0.mlp.in": [1], "blocks.0.ln2.hook_normalized": [1]}})
    write(tmp_path / "tasks.json", {"tasks": []})
    assert main(["score", str(tiny_run.path), str(tmp_path), "--device", "cpu", "--json"]) == 2
    rows = {row["task"]: row["reason"] or "" for row in json.loads(capsys.readouterr().out)["circuits"]}
    wrong = {"no_such_task", "if_equals", "with_as", "with_open", "var_if", "class_init", "lambda_func"}
    assert rows.keys() == {SOLVED, *wrong} and not rows[SOLVED] and all(rows[task] for task in wrong)
    assert "edges" in rows["class_init"] and "named twice" in rows["lambda_func"]
    assert "no_such_task" in rows["no_such_task"] and "has no channel 1000000" in rows["if_equals"]
    assert "belongs to model 000000000000" in rows["with_as"] and "is said to be of task" in rows["with_open"]
    assert "not kept" in rows["var_if"]
    assert main(["score", str(tiny_run.path), str(tmp_path), "--device", "cpu"]) == 2
    assert "0 of 1 tasks solved" in capsys.readouterr().out


def test_nothing_to_measure_is_an_error(tiny_run: Run, tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="holds no circuit"):
        score_circuits(tiny_run.path, tmp_path)
    write(tmp_path / "no_such_task.json", {"nodes": {"embed": [0]}})
    with pytest.raises(UserError, match="no_such_task"):
        score_circuits(tiny_run.path, tmp_path)
