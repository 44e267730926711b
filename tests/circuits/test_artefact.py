"""A stored circuit stands for itself: with the model it was found in, and nothing else, it gives the same numbers."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import thinwire
from thinwire.circuits.artefact import check_belongs, evaluate_circuit, load_circuit, save_circuit
from thinwire.cli.main import main
from thinwire.errors import CorruptFile, MissingFile, UserError
from thinwire.runs.run import Run
from thinwire.tasks import registry
from thinwire.tasks.task import SPLITS


@pytest.fixture
def directory(pruned_path: Path, tmp_path: Path) -> Path:
    """A copy of a circuit's directory, far from its run."""
    (source,) = thinwire.load_run(pruned_path).circuit_directories()
    return shutil.copytree(source, tmp_path / "alone")


def test_a_stored_circuit_gives_the_same_losses(directory: Path, tiny_run: Run) -> None:
    """To 1e-5, on every split, read back from its own files."""
    stored = load_circuit(directory)
    for split in SPLITS:
        again, before = evaluate_circuit(tiny_run.model, stored, split), stored.circuit.scores[split]
        assert again.loss == pytest.approx(before.loss, abs=1e-5)
        assert again.accuracy == before.accuracy
        assert again.kl == pytest.approx(before.kl, abs=1e-5)


def test_its_minimal_edges_give_the_same_losses_too(directory: Path, tiny_run: Run) -> None:
    stored = load_circuit(directory)
    assert stored.circuit.minimal_scores is not None and stored.circuit.minimal_edges != stored.circuit.edges
    for split in SPLITS:
        again = evaluate_circuit(tiny_run.model, stored, split, "minimal")
        assert again.loss == pytest.approx(stored.circuit.minimal_scores[split].loss, abs=1e-5)
    unswept = replace(stored, circuit=replace(stored.circuit, minimal_edges=None))
    with pytest.raises(UserError, match="no edges of the circuit of own were swept"):
        evaluate_circuit(tiny_run.model, unswept, "test", "minimal")


def test_eval_measures_stored_circuits_again(
    pruned_path: Path, tiny_path: Path, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of the run, or the named ones; each with both kinds of edges, beside what is stored."""
    circuit = load_circuit(directory).circuit
    for named in ([], [str(directory)]):
        assert main(["eval", str(pruned_path), "--circuits", *named, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["circuits"]
        assert [(row["edge_kind"], row["n_edges"]) for row in rows] == [
            ("induced", circuit.n_edges),
            ("minimal", circuit.n_minimal_edges),
        ]
        assert all(row["test_loss"] == pytest.approx(row["stored_test_loss"], abs=1e-5) for row in rows)
        assert rows[0]["stored_test_loss"] == circuit.scores["test"].loss
    assert main(["eval", str(tiny_path), "--circuits"]) == 2
    assert "holds no circuits; find some with" in capsys.readouterr().err


def test_it_does_so_after_its_task_has_changed(
    directory: Path, tiny_run: Run, monkeypatch: pytest.MonkeyPatch, own_task: str
) -> None:
    """No template, no task file and no tokenizer is looked at."""

    def gone(*_: object) -> None:
        raise AssertionError("the task was read again")

    for name in ("get_task", "load_family", "load_jsonl_task"):
        monkeypatch.setattr(registry, name, gone)
    monkeypatch.setattr("thinwire.tasks.tokens.tokenize_splits", gone)
    stored = load_circuit(directory)
    found = evaluate_circuit(tiny_run.model, stored)
    assert found.loss == pytest.approx(stored.circuit.scores["test"].loss, abs=1e-5)


def test_the_score_depends_on_the_stored_pairs_and_means(directory: Path, tiny_run: Run) -> None:
    stored = load_circuit(directory)
    before = evaluate_circuit(tiny_run.model, stored).loss
    for mean in stored.means.values():
        mean.add_(1.0)
    assert evaluate_circuit(tiny_run.model, stored).loss != pytest.approx(before, abs=1e-5)


def test_another_models_circuit_is_refused(directory: Path, own_run: Run) -> None:
    stored = load_circuit(directory)
    check_belongs(stored.circuit, own_run.model)
    own_run.model.embed.weight[0, 0] += 1.0
    for call in (lambda: check_belongs(stored.circuit, own_run.model), lambda: evaluate_circuit(own_run.model, stored)):
        with pytest.raises(UserError, match="belongs to model .*; give the run that it was found in"):
            call()


@pytest.mark.parametrize("name", ["circuit.json", "means.safetensors", "pairs.safetensors"])
def test_a_flipped_bit_is_noticed(directory: Path, name: str) -> None:
    file = directory / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    with pytest.raises(CorruptFile, match=f"{name} does not match its checksum"):
        load_circuit(directory)
    file.unlink()
    with pytest.raises(MissingFile, match=f"{name} is missing"):
        load_circuit(directory)


def test_everything_comes_back(directory: Path, tmp_path: Path) -> None:
    """Written again, the files have the same bytes. One answer is a single letter, whose bytes Python shares."""
    stored = load_circuit(directory)
    assert stored.circuit.answer_texts == (":\n", "\n")
    save_circuit(tmp_path / "again", stored.circuit, stored.means, stored.pairs)
    for name in ("circuit.json", "means.safetensors", "pairs.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (directory / name).read_bytes()
    again = load_circuit(tmp_path / "again")
    assert again.circuit == stored.circuit
    assert all(torch.equal(again.means[site], mean) for site, mean in stored.means.items())
    for split in SPLITS:
        assert np.array_equal(again.pairs[split].clean, stored.pairs[split].clean)
        assert again.pairs[split].answer_texts == stored.pairs[split].answer_texts


def test_a_directory_that_holds_something_is_left_alone(directory: Path) -> None:
    stored = load_circuit(directory)
    with pytest.raises(UserError, match="is not empty"):
        save_circuit(directory, stored.circuit, stored.means, stored.pairs)
    assert load_circuit(directory).circuit == stored.circuit


def test_padding_is_no_token_of_the_task(directory: Path, tiny_run: Run) -> None:
    """Edges from the embedding are counted for tokens inside the prompts, each once."""
    stored = load_circuit(directory)
    seen: set[int] = set()
    for pairs in stored.pairs.values():
        for rows, lengths in ((pairs.clean, pairs.clean_length), (pairs.corrupt, pairs.corrupt_length)):
            for row, length in zip(rows, lengths, strict=True):
                seen.update(row[:length].tolist())
    assert tiny_run.tokenizer.end_of_text not in seen
    kept = tiny_run.model.embed.weight[sorted(seen)][:, stored.circuit.nodes.get("embed", [])]
    assert stored.circuit.embed_edges == int(kept.count_nonzero())
