"""A model from elsewhere is a resident: it forges no training, and all that needs a model alone takes it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_world import quick

import thinwire
from thinwire.circuits.artefact import load_circuit
from thinwire.circuits.isolated import isolate_circuit
from thinwire.circuits.prompts import Prompts
from thinwire.errors import CorruptFile, MissingFile, UserError
from thinwire.model.gpt import GPT
from thinwire.runs.run import Run, load, load_run
from thinwire.runs.trained import Origin, Trained, create_imported
from thinwire.storage.files import add_sealed
from thinwire.workflows.evaluate import evaluate
from thinwire.workflows.plot import plot_run
from thinwire.workflows.report import report_run
from thinwire.workflows.tasks import check_task
from thinwire.workflows.train import train
from thinwire.workflows.view import view

ORIGIN = Origin("openai", "csp_sweep1", {"final_model.pt": "0" * 64}, ["No text came with it."])


@pytest.fixture
def imported(tiny_run: Run, tmp_path: Path) -> Path:
    """The tiny run's model as it would arrive from another program."""
    create_imported(tmp_path / "in", tiny_run.model, tiny_run.tokenizer, ORIGIN, tiny_run.heldout)
    return tmp_path / "in"


def test_an_imported_model_is_the_model_and_states_its_origin(imported: Path, tiny_run: Run) -> None:
    found = load(imported, "cpu")
    assert not isinstance(found, Run) and (found.origin, tiny_run.origin) == (ORIGIN, None)
    assert (found.fingerprint, found.model_config) == (tiny_run.fingerprint, tiny_run.model_config)
    assert found.density == tiny_run.density == pytest.approx(0.3, abs=0.01)
    assert found.heldout_loss() == pytest.approx(tiny_run.heldout_loss(), abs=1e-5)
    assert (imported / "config.yaml").read_text().splitlines()[0] == "model:"
    assert {path.name for path in imported.iterdir()} == {
        *("config.yaml", "origin.json", "tokenizer.json", "model.safetensors", "heldout.bin", "manifest.json")
    }


@pytest.mark.usefixtures("brief_verification", "brief_pages")
def test_everything_that_needs_a_model_alone_takes_it(imported: Path, own_task: str, tmp_path: Path) -> None:
    found = load(imported, "cpu")
    assert check_task(found, own_task, "test").model_does
    circuit = thinwire.prune(found, own_task, quick(sweep="nodes"))
    assert circuit.status == "solved" and circuit.directory and circuit.directory.is_relative_to(imported)
    assert thinwire.verify(str(imported), circuit).verdict
    assert evaluate(imported).heldout_loss == pytest.approx(found.heldout_loss())
    assert Path(view([str(imported)], str(tmp_path / "page.html")).view).exists()
    assert [Path(name).name.partition("-")[0] for name in plot_run(str(imported)).figures] == ["loss", "circuit"]


def test_what_needs_a_training_says_that_there_is_none(imported: Path) -> None:
    for act in (load_run, report_run, lambda path: train(None, path, resume=True)):
        with pytest.raises(UserError, match="was imported and has no training"):
            act(imported)


def test_without_text_what_needs_text_says_so(imported: Path, tiny_run: Run, tmp_path: Path) -> None:
    create_imported(tmp_path / "mute", tiny_run.model, tiny_run.tokenizer, ORIGIN)
    found = load(tmp_path / "mute", "cpu")
    assert torch.isfinite(found.model(torch.zeros(1, 2, dtype=torch.long))).all()
    with pytest.raises(MissingFile, match="mute came without held-out text.*import it again with text"):
        _ = found.windows(64)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {}\ntrain: {}\n", "config.yaml: unknown keys: train"),
        ("- 1\n", "config.yaml"),
        ("model:\n  depth: 3\n", "unknown keys: model.depth"),
        ("model: [", "is not valid YAML"),
    ],
)
def test_its_config_is_read_strictly(imported: Path, text: str, message: str) -> None:
    add_sealed(imported, "config.yaml", text)
    with pytest.raises(CorruptFile, match=message):
        load(imported)


@pytest.mark.usefixtures("brief_pages")
def test_a_circuit_knows_its_directory(pruned_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that verifying or showing one does not read all of a run's circuits."""
    run = load(pruned_path, "cpu")
    (path,) = run.circuit_directories()
    from thinwire.circuits.artefact import load_circuit

    circuit = load_circuit(path).circuit
    assert circuit.directory == path and "directory" not in circuit.to_dict()

    def refuse(self: Trained) -> Any:
        raise AssertionError("all circuits were looked through")

    monkeypatch.setattr(Trained, "circuit_directories", refuse)
    assert "<iframe" in thinwire.show(str(pruned_path), circuit)._repr_html_()
    assert "<iframe" in thinwire.show(pruned_path, str(path))._repr_html_()


def test_a_circuit_of_a_copy_is_found_in_the_copy(pruned_path: Path, tiny_path: Path, tmp_path: Path) -> None:
    import shutil

    from thinwire.circuits.artefact import load_circuit
    from thinwire.runs.stored import directory_of

    copy = load(shutil.copytree(pruned_path, tmp_path / "copy"), "cpu")
    (path,) = load(pruned_path).circuit_directories()
    circuit = load_circuit(path).circuit
    assert directory_of(copy, circuit) == copy.path / path.relative_to(pruned_path)
    with pytest.raises(UserError, match="does not hold this circuit of own; store it with thinwire.prune first"):
        directory_of(load(tiny_path), circuit)


def test_settings_that_are_no_config_are_refused_clearly(pruned_path: Path) -> None:
    from inspect import unwrap

    from thinwire.runs.stored import directory_of

    with pytest.raises(
        UserError, match=r"config is a dict; give a thinwire.PruneConfig, such as PruneConfig\(seed=1\)"
    ):
        unwrap(thinwire.prune)(pruned_path, "single_double_quote", {"seed": 1})  # as it is called outside tests
    with pytest.raises(UserError, match=r"config is a dict; give a RunConfig, such as .*recipe\('demo'\)"):
        unwrap(thinwire.train)({"seed": 1}, pruned_path / "new")
    with pytest.raises(UserError, match="circuit is of type int; give what thinwire.prune returned, or its directory"):
        unwrap(directory_of)(load(pruned_path), 5)


# --- text -----------------------------------------------------------------------------------------------------------


def test_text_is_written_without_the_dense_model(imported: Path, tiny_path: Path) -> None:
    """From weights that are stored by nonzeros and from those of a training's checkpoint, which are stored dense."""
    found, run = load(imported, "cpu"), load(tiny_path, "cpu")
    written = found.generate("while True:", max_tokens=9, seed=1).result()
    assert written == run.generate("while True:", max_tokens=9, seed=1).result() and len(written.tokens) == 9
    assert "model" not in vars(found) and "model" not in vars(run)
    tokens = torch.tensor([found.tokenizer.encode("while True:")])
    greedy = found.generate(["while True:"], max_tokens=1, temperature=0.0)[0]
    assert greedy.tokens == (int(found.model(tokens)[0, -1].argmax()),)


def test_a_circuit_writes_what_it_decides_alone(pruned_path: Path, tmp_path: Path) -> None:
    run = load(pruned_path, "cpu")
    (path,) = run.circuit_directories()
    stored = load_circuit(path)
    prompts = Prompts.of(stored.pairs["test"])
    expected = isolate_circuit(run.model, stored.circuit, stored.means, prompts).logits().argmax(-1).tolist()
    rows = [row[:length] for row, length in zip(prompts.tokens.tolist(), prompts.lengths.tolist(), strict=True)]
    texts = [run.tokenizer.decode(row) for row in rows]
    assert [run.tokenizer.encode(text) for text in texts] == rows
    for circuit in (path, str(path), stored.circuit):
        found = run.generate(texts[:5], max_tokens=1, temperature=0.0, circuit=circuit)
        assert [text.tokens[0] for text in found] == expected[:5]
    with pytest.raises(UserError, match="the circuit is not stored"):
        run.generate("x", circuit=replace(stored.circuit, directory=None))
    create_imported(tmp_path / "other", GPT(run.model_config), run.tokenizer, ORIGIN)
    with pytest.raises(UserError, match="belongs to model .*, this model is"):
        load(tmp_path / "other", "cpu").generate("x", circuit=path)


def test_weights_that_do_not_fit_their_config_write_no_text(imported: Path) -> None:
    config = (imported / "config.yaml").read_text().replace("d_model: 64", "d_model: 48")
    add_sealed(imported, "config.yaml", config)
    with pytest.raises(CorruptFile, match="does not fit its config.yaml: "):
        load(imported, "cpu").generate("x")
