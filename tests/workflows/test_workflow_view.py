"""From a run to the interactive page: what is chosen, what is measured, what is written."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import thinwire
from thinwire.circuits.artefact import load_circuit
from thinwire.circuits.isolated import isolate_circuit
from thinwire.circuits.prompts import Prompts
from thinwire.errors import MissingFile, UserError
from thinwire.evidence.effects import effect
from thinwire.viewer.view_contract import View
from thinwire.workflows import view as viewing
from thinwire.workflows.view import choose, gather, show, view


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    """Fewer pairs, edges and windows than a person gets: the same code in less time."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"NODE_PAIRS": 4, "EDGE_EFFECTS": 5, "TEXT_WINDOWS": 16, "LADDER_STEPS": 3}.items():
            patch.setattr(viewing, name, value)
        yield


@pytest.fixture(scope="module")
def found(pruned_path: Path, few: None) -> View:
    return gather(choose([pruned_path], "cpu"))


def data_of(page: str) -> dict[str, Any]:
    return json.loads(page.split('id="data">')[1].split("</script>")[0])


def test_the_page_holds_circuit_json_itself(pruned_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "page.html"
    result = view([pruned_path], out, device="cpu")
    (directory,) = thinwire.load_run(pruned_path).circuit_directories()
    stored = json.loads((directory / "circuit.json").read_text())
    shown = data_of(out.read_text(encoding="utf-8"))["circuits"]
    assert [entry["circuit"] for entry in shown] == [stored]
    assert shown[0]["judgement"]["verdict"] and "steps=30" in shown[0]["setting"]
    assert result.bytes == out.stat().st_size < 2_000_000
    assert [p.name for p in out.parent.iterdir()] == ["page.html"]


def test_the_page_and_the_run_tell_the_same_heldout_loss(pruned_path: Path, found: View) -> None:
    (model,) = found.models.values()
    assert model.heldout_loss == thinwire.load_run(pruned_path).heldout_loss()


def test_effects_are_what_taking_the_node_out_does(pruned_path: Path, found: View) -> None:
    (item,) = choose([pruned_path], "cpu")
    stored, entry = load_circuit(item.path), found.circuits[0]
    prompts = viewing._first(Prompts.of(stored.pairs["test"]), viewing.NODE_PAIRS)
    alone = isolate_circuit(item.run.model, stored.circuit, stored.means, prompts)
    base = effect(alone)
    assert entry.base == base
    for site, channels in list(alone.nodes.items())[:4]:
        changed = effect(alone.without([(site, channels[0])]))
        assert entry.nodes[f"{site}:{channels[0]}"].effect == pytest.approx(changed.loss - base.loss)


def test_every_node_has_words_examples_and_activations(found: View) -> None:
    entry = found.circuits[0]
    keys = {f"{site}:{c}" for site, channels in entry.circuit.nodes.items() for c in channels}
    assert set(entry.nodes) == keys
    for pair in entry.pairs:
        assert set(pair.nodes) == keys
    for node in entry.nodes.values():
        for source in (node.text, node.task):
            assert source
            for examples, way in ((source.positive, 1), (source.negative, -1)):
                for example in examples:
                    assert way * example.values[example.at] > 0
                    assert {str(token) for token in example.tokens} <= set(found.tokens)


def test_the_ladder_ends_at_the_circuit(found: View) -> None:
    entry = found.circuits[0]
    last = entry.ladder.steps[-1]
    assert last.k == entry.circuit.n_nodes == len(entry.ladder.order)
    assert last.loss == pytest.approx(entry.base.loss)


def test_one_circuit_can_be_named_by_its_directory(pruned_path: Path, found: View) -> None:
    (directory,) = thinwire.load_run(pruned_path).circuit_directories()
    (item,) = choose([directory], "cpu")
    assert item.run.path.resolve() == pruned_path.resolve()
    assert viewing.circuit_id(item, load_circuit(directory).circuit) == found.circuits[0].id


def test_circuits_are_chosen_by_what_they_are(pruned_path: Path) -> None:
    (directory,) = thinwire.load_run(pruned_path).circuit_directories()
    (item,) = choose([pruned_path], "cpu", ["seed=0", "target_loss=0.15"])
    assert item.path.resolve() == directory.resolve()
    with pytest.raises(UserError, match=r"no circuit here has seed=0 target_loss=0\.3"):
        choose([pruned_path], "cpu", ["seed=0", "target_loss=0.3"])


def test_a_demo_shows_both_models(pruned_path: Path, tmp_path: Path) -> None:
    from thinwire.storage.files import add_sealed, seal, to_json

    demo = tmp_path / "demo"
    for kind in ("sparse", "dense"):
        shutil.copytree(pruned_path, demo / kind)
    (directory,) = thinwire.load_run(demo / "sparse").circuit_directories()
    inner = directory.relative_to(demo / "sparse")
    seal(demo, [])
    add_sealed(demo, "demo.json", to_json({"seed": 0}))
    with pytest.raises(UserError, match="is not finished; go on with: thinwire demo"):
        choose([demo], "cpu")
    chosen = {"own": {kind: f"{kind}/{inner}" for kind in ("sparse", "dense")}}
    add_sealed(demo, "demo.json", to_json({"seed": 0, "chosen": chosen}))
    assert [item.model for item in choose([demo], "cpu")] == ["sparse", "dense"]


def test_models_of_one_name_are_told_apart(pruned_path: Path, tmp_path: Path) -> None:
    paths = [shutil.copytree(pruned_path, tmp_path / name / "sparse") for name in ("a", "b")]
    chosen = choose([paths[0], paths[1], *thinwire.load_run(paths[0]).circuit_directories()], "cpu")
    assert [item.model for item in chosen] == ["a/sparse", "b/sparse", "a/sparse"]
    assert chosen[0].run is chosen[2].run
    assert {viewing.circuit_id(item, load_circuit(item.path).circuit).count("/own/") for item in chosen} == {1}


def test_what_is_not_there_is_said(tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no circuits; find some with: thinwire prune"):
        choose([tiny_path], "cpu")
    with pytest.raises(MissingFile, match="holds no circuit and no run"):
        choose([tmp_path], "cpu")


def test_a_circuit_is_shown_in_a_notebook(pruned_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewing, "NODE_EFFECTS", 0)
    run = thinwire.load_run(pruned_path)
    (directory,) = run.circuit_directories()
    circuit = load_circuit(directory).circuit
    shown = show(run, circuit, height=500)._repr_html_()
    assert shown.startswith("<iframe srcdoc=") and 'sandbox="allow-scripts allow-downloads"' in shown
    with pytest.raises(UserError, match="does not hold this circuit"):
        show(run, replace(circuit, seed=99))


def test_graph_and_examples_are_written_beside(
    pruned_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewing, "NODE_EFFECTS", 0)
    file, folder = tmp_path / "g.json", tmp_path / "examples"
    result = view([pruned_path], tmp_path / "v.html", graph=file, examples=folder, device="cpu")
    graph = json.loads((tmp_path / "g.json").read_text())
    assert result.graph == str(tmp_path / "g.json")
    assert graph["metadata"]["scan"] == pruned_path.name and graph["links"] and graph["qParams"]["supernodes"]
    (directory,) = thinwire.load_run(pruned_path).circuit_directories()
    nodes = load_circuit(directory).circuit.nodes
    batches = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    del batches["manifest"]
    assert {site: [f["feature_index"] for f in batch["features"]] for site, batch in batches.items()} == nodes
    assert any(f["activations"][0]["tokens"] for batch in batches.values() for f in batch["features"])


# --- figures --------------------------------------------------------------------------------------------------------


def test_figures_are_drawn_in_every_format(pruned_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from thinwire.workflows.plot import plot_run

    files = [Path(name) for name in plot_run(pruned_path, tmp_path, formats=("svg", "pdf", "png")).figures]
    assert len(files) == 9 and {path.suffix for path in files} == {".svg", ".pdf", ".png"}  # 3 figures x 3 formats
    starts = {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG"}
    assert all(path.read_bytes().startswith(starts[path.suffix]) for path in files)
    (directory,) = thinwire.load_run(pruned_path).circuit_directories()
    verdict = json.loads((directory / "verify.json").read_text())["verdict"]
    for path in files:  # verdict and settings stand in the figure itself
        if path.suffix == ".svg" and path.name.startswith(("circuit", "loss")):
            assert f"{verdict}</text>" in path.read_text() and "steps=30" in path.read_text()
    drawn, curve = (next(p.read_text() for p in files if p.name.startswith(w)) for w in ("circuit-", "loss-"))
    for word in ("positive weight", "negative weight", "same residual channel", "→"):
        assert word in drawn
    for word in ("the first nodes by their gates", "target", "the whole model", "validation pairs"):
        assert word in curve
    again = plot_run(pruned_path, tmp_path / "again", formats=("svg",)).figures
    for path in map(Path, again):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), "the same numbers give the same file"


def test_an_unknown_format_is_refused(pruned_path: Path) -> None:
    from thinwire.workflows.plot import plot_run

    with pytest.raises(UserError, match="unknown format gif; there are: svg, pdf, png"):
        plot_run(pruned_path, formats=("gif",))
