"""The models that come with the package: whole, small, what their cards say, and their circuits what they state."""

import shutil
import tomllib
from collections import Counter
from pathlib import Path

import networkx
import pytest
from model_card import BLOCK, CARD, generated

from thinwire.circuits.artefact import evaluate_circuit, load_circuit
from thinwire.circuits.connections import SOURCES
from thinwire.cli.main import main
from thinwire.runs.run import load
from thinwire.runs.shipped import SHIPPED, shipped_models
from thinwire.runs.stored import check_stated_loss, open_circuit
from thinwire.runs.trained import Trained
from thinwire.runs.verdicts import stored_verification
from thinwire.storage.files import is_sealed, read_manifest, read_sealed
from thinwire.training.evaluate import heldout_loss
from thinwire.workflows.graph import graph

MOST_BYTES = 8_000_000
"""Of all models together."""


@pytest.fixture(scope="module", params=shipped_models())
def model(request: pytest.FixtureRequest) -> Trained:
    return load(SHIPPED / request.param, "cpu")


def test_there_is_one_and_all_are_small() -> None:
    assert "headline" in shipped_models()
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) <= MOST_BYTES


def test_all_of_it_is_packed_into_the_wheel() -> None:
    project = tomllib.loads((SHIPPED.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    (folder,) = (glob for glob in project["tool"]["setuptools"]["package-data"]["thinwire"] if "models" in glob)
    packed = set(SHIPPED.parent.glob(folder))
    assert {path for path in SHIPPED.rglob("*") if path.is_file()} <= packed


def test_every_file_is_what_its_manifest_says(model: Trained) -> None:
    sealed = [path.parent for path in model.path.rglob("manifest.json")]
    assert all(read_sealed(folder, name) for folder in sealed for name in read_manifest(folder).files)
    loose = {path.name for path in model.path.iterdir() if path.is_file() and not is_sealed(model.path, path.name)}
    assert loose == {"manifest.json", CARD}


def test_its_card_says_what_its_files_say(model: Trained) -> None:
    card = (model.path / CARD).read_text(encoding="utf-8")
    found = BLOCK.search(card)
    assert found and found[0] == generated(model), "python tests/model_card.py"


def test_its_heldout_loss_is_the_stated_one(model: Trained) -> None:
    windows = model.windows(1 << 17)
    assert heldout_loss(model.model, windows) == pytest.approx(model.heldout_loss(), abs=1e-4)


def test_every_circuit_gives_the_loss_that_it_states_and_was_verified(model: Trained) -> None:
    paths = list(model.circuit_directories())
    assert paths
    for path in paths:
        stored = open_circuit(model, path)
        stated = stored.circuit.scores["test"]
        check_stated_loss(path, stated.loss, evaluate_circuit(model.model, stored).loss)
        judged = stored_verification(path)
        assert judged is not None and judged.verdict in ("faithful", "sufficient only", "not supported")


def test_every_circuit_is_a_graph_that_leads_from_tokens_to_answers(model: Trained) -> None:
    """Of its weights every one; in one piece, but for the nodes that it names as idle."""
    for path in model.circuit_directories():
        circuit, found = load_circuit(path).circuit, graph(model, path)
        kinds = Counter(link.kind for link in found.links)
        assert kinds["edge"] == circuit.n_edges == len(circuit.edges)
        assert (kinds["embed"], kinds["unembed"]) == (circuit.embed_edges, circuit.unembed_edges)
        assert kinds["residual"] == circuit.residual_links
        minimal = [link for link in graph(model, path, "minimal").links if link.kind == "edge"]
        assert len(minimal) == circuit.n_minimal_edges
        drawn = found.networkx()
        starts = [node.id for node in found.nodes if node.kind in SOURCES]
        ends = [node.id for node in found.nodes if node.kind == "answer"]
        down = set(starts).union(*(networkx.descendants(drawn, node) for node in starts))
        up = set(ends).union(*(networkx.ancestors(drawn, node) for node in ends))
        assert {node.id for node in found.nodes} - set(found.idle) == down & up
        assert networkx.is_weakly_connected(drawn.subgraph(down & up)) and set(ends) <= down
        kept = [node.id for node in found.nodes if node.kind == "node"]
        assert len(kept) == circuit.n_nodes and len(set(kept) & set(found.idle)) < 0.2 * circuit.n_nodes


def test_the_demo_needs_no_training_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One circuit of it: the whole page takes about a minute on two cores (docs/log.md)."""
    import thinwire.workflows.pretrained as pretrained
    from thinwire.runs import shipped

    folder = tmp_path / "package"
    first = next(load(SHIPPED / pretrained.MODEL, "cpu").circuit_directories())
    shutil.copytree(SHIPPED / pretrained.MODEL, folder / pretrained.MODEL, ignore=shutil.ignore_patterns("circuits"))
    kept = folder / pretrained.MODEL / first.relative_to(SHIPPED / pretrained.MODEL)
    shutil.copytree(first, kept)
    monkeypatch.setattr(shipped, "SHIPPED", folder)
    assert main(["demo", "--pretrained", "--out", str(tmp_path / "out")]) == 0
    assert "</html>" in (tmp_path / "out" / "view.html").read_text(encoding="utf-8")


def test_what_stands_best_comes_first_and_each_task_once() -> None:
    from thinwire.workflows.pretrained import MODEL, best_standing

    circuits = {path: load_circuit(path).circuit for path in load(SHIPPED / MODEL, "cpu").circuit_directories()}
    shown = best_standing(circuits)
    assert sorted(circuits[path].task for path in shown) == sorted({circuit.task for circuit in circuits.values()})
    levels = ["faithful", "sufficient only", "not supported"]
    places = [levels.index(found.judged.verdict) for path in shown if (found := stored_verification(path))]
    assert len(places) == len(shown) and places == sorted(places)
