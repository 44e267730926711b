"""A run that an older version stored still loads, and its circuits still score what they scored.

stored_run.zip was made at f2e49e3 (28 November 2026) with the functions of tests/tiny_world.py of that commit:

    corpus = write_corpus("corpus")
    config = tiny_config("corpus", d_model=32, steps=300)  # and min_per_line 1, checkpoint_every_steps 300
    train(config, "run")
    for task in (write_own_task("own.jsonl"), "single_double_quote"):
        verify("run", prune("run", task, quick()))
    baselines_run("run")

Left out are the optimizer's moments and all but two of the baselines' circuits.
"""

import zipfile
from pathlib import Path

import pytest
import torch

from thinwire.circuits.artefact import evaluate_circuit, load_circuit
from thinwire.circuits.solved import standing
from thinwire.runs.run import Run, load
from thinwire.runs.stored import open_circuit
from thinwire.runs.trained import Trained

FINGERPRINT = "a30aa864371c4ce592748fb07c279a9ed5b52356f368c508eb0596859a3e29ae"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    with zipfile.ZipFile(Path(__file__).parent / "stored_run.zip") as archive:
        archive.extractall(folder)
    return folder / "run"


@pytest.fixture(scope="module")
def run(stored: Path) -> Trained:
    return load(stored)


def test_every_record_of_an_older_run_is_read(run: Trained) -> None:
    assert isinstance(run, Run)
    assert (run.config.n_steps, run.model_config.d_model, run.threads) == (300, 32, 1)
    assert run.tokenizer.decode(run.tokenizer.encode("x = 1\n")) == "x = 1\n" and len(run.heldout) == 3164
    assert (run.environment.seed, run.environment.versions["torch"]) == (0, "2.13.0+cpu")
    assert run.corpus.splits["train"].n_files == 17 and run.corpus.heldout_in_training is None
    assert run.corpus.files[0].name == "m0.py" and run.costs[32, 128].dense == 4096
    assert [row.step for row in run.metrics] == list(range(1, 301))
    assert [row.step for row in run.metrics if row.heldout_loss is not None] == [80, 160, 240, 300]


def test_an_older_run_has_the_same_model(run: Trained) -> None:
    from thinwire.training.evaluate import heldout_loss

    assert run.fingerprint == FINGERPRINT
    assert run.heldout_loss() == 1.9916729927062988
    assert heldout_loss(run.model, run.windows(1 << 17)) == pytest.approx(run.heldout_loss(), rel=1e-5)


def test_circuits_of_an_older_run_score_the_same(run: Trained) -> None:
    circuits = {found.circuit.task: found for found in (open_circuit(run, path) for path in run.circuit_directories())}
    assert {name: standing(found.circuit).solved for name, found in circuits.items()} == {
        "own": True,
        "single_double_quote": False,
    }
    assert (circuits["own"].circuit.n_nodes, circuits["own"].circuit.n_edges) == (54, 122)
    for found in circuits.values():
        assert evaluate_circuit(run.model, found).loss == pytest.approx(found.circuit.scores["test"].loss, rel=1e-4)
    then = circuits["own"].circuit.minimal_scores
    assert then and evaluate_circuit(run.model, circuits["own"], edges="minimal").loss == pytest.approx(
        then["test"].loss, rel=1e-4
    )


def test_older_circuits_are_whole(run: Trained) -> None:
    for path in (*run.circuit_directories(), *sorted(run.path.glob("baselines/*/*/0"))):
        stored = load_circuit(path)
        assert stored.circuit.model_fingerprint == FINGERPRINT and stored.circuit.directory == path
        assert all(torch.isfinite(mean).all() for mean in stored.means.values())
