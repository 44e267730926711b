"""Pruning a run: repeatable byte for byte, honest about failure, careful with what is there, blind to test pairs."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_world import SOLVED, quick, write_own_task

import thinwire
from thinwire.circuits.artefact import load_circuit
from thinwire.cli.main import main
from thinwire.errors import UserError
from thinwire.progress import Advance, silent
from thinwire.pruning.config import PruneConfig
from thinwire.runs.run import Run
from thinwire.runs.store import store_circuit
from thinwire.runs.verdicts import stored_verdict
from thinwire.tasks.answers import Unavailable
from thinwire.tasks.jsonl import load_jsonl_task
from thinwire.workflows import prune as workflow
from thinwire.workflows.prune import circuit_directory, prune, prune_run, prune_settings
from thinwire.workflows.pruned import prune_result

QUICK = ["--steps=30", "--batch_pairs=16", "--learning_rate=0.06", "--means_tokens=2048"]
TASK = "own"
LEARNED = quick(steps=5, sweep="none")
"""Where it does not matter which circuit is found: a sweep takes nearly all of the time that `quick` takes."""


def files(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_a_circuit_is_found_and_stored(pruned_path: Path) -> None:
    run = thinwire.load_run(pruned_path)
    path = circuit_directory(run, TASK, quick())
    assert path == pruned_path / "circuits" / TASK / quick().settings_hash() / "0"
    circuit = load_circuit(path).circuit
    assert circuit.status == "solved"
    assert circuit.scores["validation"].loss <= circuit.target_loss == 0.15
    assert 0 < circuit.n_nodes < 600
    assert set(files(path)) >= {"circuit.json", "means.safetensors", "pairs.safetensors", "manifest.json"}
    assert circuit.model_fingerprint == run.fingerprint
    assert circuit.tokenizer_sha256 == run.tokenizer.sha256
    assert circuit.hyperparameters == quick().hyperparameters()


def test_the_same_seed_gives_the_same_circuit_byte_for_byte(own_run: Run, own_task: str, pruned_path: Path) -> None:
    model = own_run.model.state_dict()
    weights = {name: value.clone() for name, value in model.items()}
    circuit = prune(own_run, own_task, quick())
    assert all((value == weights[name]).all() for name, value in model.items())  # the model stays as it was
    again = files(circuit_directory(own_run, TASK, quick()))
    before = files(circuit_directory(thinwire.load_run(pruned_path), TASK, quick()))
    for name in ("circuit.json", "means.safetensors", "pairs.safetensors"):
        assert again[name] == before[name], name
    other = prune(own_run, own_task, quick(seed=1, sweep="none"))
    assert other.seed == 1 and other.loss_curve != circuit.loss_curve


def test_a_scope_joins_what_pruning_sees_and_is_claimed(own_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thinwire.tasks.family.SIZES", {"train": 32, "validation": 16, "test": 16})
    config = quick(steps=3, sweep="none", scope=("deeper",))
    circuit = prune(own_run, SOLVED, config)
    assert circuit.scope == ["deeper"]
    assert prune(own_run, SOLVED, config, resume=True) == circuit  # as it is stored
    pairs = load_circuit(circuit_directory(own_run, SOLVED, config)).pairs
    assert len(pairs["train"]) >= 32 + 32
    assert len(pairs["validation"]) >= 16 + 32
    assert len(pairs["test"]) == 16
    assert pairs["train"].aligned.all()
    with pytest.raises(UserError, match="has no shift 'louder'"):
        prune(own_run, SOLVED, quick(scope=("louder",)))


def test_a_target_that_cannot_be_met_is_a_result(
    own_run: Run, own_task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0, the target not met, the best loss that was reached."""
    assert main(["prune", str(own_run.path), own_task, "--target_loss=1e-9", "--json", *QUICK]) == 0
    (row,) = json.loads(capsys.readouterr().out)["circuits"]
    assert (row["target_met"], row["solved"]) == (False, False)
    assert row["why_not"][-1].startswith("no circuit met the target of 1e-09; the lowest loss was")
    assert 1e-9 < row["best_validation_loss"] == pytest.approx(row["validation"]["loss"], rel=1e-5)
    stored = load_circuit(Path(row["path"])).circuit
    assert stored.status == "not_solved"
    assert stored.scores["validation"].loss == row["validation"]["loss"]


@pytest.mark.slow
def test_whether_it_is_solved_is_decided_before_calibration(own_run: Run, own_task: str) -> None:
    """The target lies between the losses before and after: calibration would have met it, the circuit does not."""
    loose = prune(own_run, own_task, quick(target_loss=1e-9))
    before, after = loose.scores["validation"].loss, loose.calibrated_scores["validation"].loss
    assert after < before
    between = prune(own_run, own_task, quick(target_loss=(before + after) / 2, k_coef=0.0))
    assert (between.status == "solved") == (between.scores["validation"].loss <= between.target_loss)


def test_a_circuit_that_comes_out_equal_keeps_what_was_judged_of_it(
    pruned_path: Path, own_task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plain `prune` of the same finds the same bytes; the verdict beside them stays and stands in the table."""
    run = shutil.copytree(pruned_path, tmp_path / "run")
    (directory,) = thinwire.load_run(run).circuit_directories()
    before = files(directory)
    assert "verify.json" in before
    assert main(["prune", str(run), own_task, "--json", *QUICK]) == 0
    (row,) = json.loads(capsys.readouterr().out)["circuits"]
    assert files(directory) == before
    assert (row["verdict"], row["void_verdict"]) == (json.loads(before["verify.json"])["verdict"], None)
    assert row["n_test_pairs"] == 8
    assert row["caution"].startswith("only 8 test pairs")


def test_another_circuit_voids_the_verdict_and_says_so(pruned_path: Path, tmp_path: Path) -> None:
    """As after a change of the code: the same task, settings and seed give other nodes."""
    run = shutil.copytree(pruned_path, tmp_path / "run")
    (directory,) = thinwire.load_run(run).circuit_directories()
    stored, verdict = load_circuit(directory), stored_verdict(directory)
    other = replace(stored.circuit, seed=7)
    assert store_circuit(directory, stored.circuit, stored.means, stored.pairs).void is None
    assert stored_verdict(directory) == verdict is not None
    assert store_circuit(directory, other, stored.means, stored.pairs).void == verdict
    assert stored_verdict(directory) is None
    assert load_circuit(directory).circuit == other
    assert not [p for p in directory.parent.iterdir() if p != directory]
    row = prune_result(str(run), {directory: other}, {directory: str(verdict)}, {}).circuits[0]
    assert (row.verdict, row.void_verdict) == (None, verdict)


def test_a_damaged_circuit_gives_way_to_a_new_one(pruned_path: Path, tmp_path: Path) -> None:
    run = shutil.copytree(pruned_path, tmp_path / "run")
    (directory,) = thinwire.load_run(run).circuit_directories()
    stored = load_circuit(directory)
    (directory / "manifest.json").write_text("{")
    assert store_circuit(directory, stored.circuit, stored.means, stored.pairs).void is None
    assert load_circuit(directory).circuit == stored.circuit


def test_finished_circuits_are_kept(own_run: Run, own_task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prune(own_run, own_task, LEARNED)
    path = circuit_directory(own_run, TASK, LEARNED)
    stamps = {p: p.stat().st_mtime_ns for p in path.iterdir()}

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("pruned again")

    with monkeypatch.context() as patch:
        patch.setattr(workflow, "prune_model", fail)
        assert prune(own_run, own_task, LEARNED, resume=True) == first
        with pytest.raises(AssertionError, match="pruned again"):
            prune(own_run, own_task, LEARNED)
    assert {p: p.stat().st_mtime_ns for p in path.iterdir()} == stamps


def test_a_circuit_of_other_pairs_is_not_taken_for_this_tasks(
    own_run: Run, own_task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `Task` whose pairs changed while name and version stayed: nobody raised the version."""
    task = load_jsonl_task(own_task)
    first = prune(own_run, task, LEARNED)
    fewer = replace(task, all_pairs=task.all_pairs[1:])
    assert fewer.version == task.version
    asked = []

    def search(*_: Any, **__: Any) -> None:
        asked.append("pruned again")
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "prune_model", search)
    with pytest.raises(KeyboardInterrupt):
        prune(own_run, fewer, LEARNED, resume=True)
    assert asked == ["pruned again"]
    assert prune(own_run, task, LEARNED, resume=True) == first


@pytest.mark.slow
def test_a_damaged_circuit_is_made_again(own_run: Run, own_task: str) -> None:
    first = prune(own_run, own_task, LEARNED)
    damaged = circuit_directory(own_run, TASK, LEARNED) / "circuit.json"
    content = damaged.read_bytes()
    damaged.write_bytes(content.replace(b"0", b"1", 1))
    assert prune(own_run, own_task, LEARNED, resume=True) == first
    assert damaged.read_bytes() == content


@pytest.mark.slow
def test_an_interrupted_call_keeps_what_it_finished_and_resume_makes_the_rest(
    own_run: Run, own_task: str, tmp_path: Path
) -> None:
    second = write_own_task(tmp_path / "second.jsonl")

    @contextmanager
    def stop_at_the_second(title: str, total: int, unit: str = "step") -> Iterator[Advance]:
        if "second" in title:
            raise KeyboardInterrupt
        with silent(title, total, unit) as advance:
            yield advance

    with pytest.raises(KeyboardInterrupt):
        prune_run(own_run.path, [own_task, str(second)], LEARNED, progress=stop_at_the_second)
    assert [p.parent.parent.name for p in own_run.circuit_directories()] == [TASK]
    stamp = (circuit_directory(own_run, TASK, LEARNED) / "circuit.json").stat().st_mtime_ns
    done = prune_run(own_run.path, [own_task, str(second)], LEARNED, resume=True)
    assert [row.task for row in done.circuits] == [TASK, "second"]
    assert (circuit_directory(own_run, TASK, LEARNED) / "circuit.json").stat().st_mtime_ns == stamp
    assert not list(own_run.path.rglob("*.tmp"))


def test_test_pairs_have_no_say_in_what_is_found(own_run: Run, pruned_path: Path, tmp_path: Path) -> None:
    """Two tasks with the same train and validation pairs and other test pairs give the same circuit."""
    a = load_circuit(circuit_directory(thinwire.load_run(pruned_path), TASK, quick())).circuit
    b = prune(own_run, str(write_own_task(tmp_path / "other.jsonl", n_test=12, first_test=8)), quick())
    assert a.nodes == b.nodes and a.edges == b.edges
    assert a.loss_curve == b.loss_curve and a.calibration == b.calibration and a.status == b.status
    for split in ("train", "validation"):
        assert a.scores[split] == b.scores[split]
    assert a.scores["test"] != b.scores["test"]
    assert (a.task, b.task) == (TASK, "other")


@pytest.mark.slow
def test_seeds_that_learn_together_are_those_that_learn_alone(
    own_run: Run, own_task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One pass for settings that differ in seed and price, another for those that differ in more; none for old ones."""
    passes: list[list[PruneConfig]] = []
    plain = workflow.prune_model

    def counted(setting: Any, configs: list[PruneConfig], progress: Any = silent) -> list[Any]:
        passes.append(configs)
        return plain(setting, configs, progress)

    monkeypatch.setattr(workflow, "prune_model", counted)
    first = quick(steps=6, sweep="none")
    configs = [first, replace(first, seed=1), replace(first, k_coef=1e-4), replace(first, steps=3)]
    alone = prune_settings(own_run, own_task, configs[:1])
    together = prune_settings(own_run, own_task, configs, resume=True, together=True)
    assert passes == [configs[:1], configs[1:3], configs[3:]]
    assert together[0] == alone[0]
    assert together[1:] == prune_settings(own_run, own_task, configs[1:])
    assert passes[3:] == [[config] for config in configs[1:]]
    assert [load_circuit(circuit_directory(own_run, TASK, c)).circuit for c in configs] == together


def test_many_seeds_learn_in_passes_of_bounded_size() -> None:
    """20 seeds at two prices, and one setting with other steps: 40 = 5 x 8 in one kind of pass, 1 in another."""
    configs = [PruneConfig(seed=seed, k_coef=price) for seed in range(20) for price in (1e-3, 1e-4)]
    groups = workflow._groups([*configs, PruneConfig(steps=5)], True)
    assert [len(group) for group in groups] == [8, 8, 8, 8, 8, 1]
    assert [config for group in groups[:5] for config in group] == configs
    assert workflow._groups(configs, False) == [[config] for config in configs]


@pytest.mark.slow
def test_seeds_count_up_and_settings_share_no_directory(own_run: Run, own_task: str) -> None:
    found = prune_run(own_run.path, [own_task], replace(LEARNED, seed=3), seeds=2)
    assert [row.seed for row in found.circuits] == [3, 4]
    paths = [Path(row.path) for row in found.circuits]
    assert [p.name for p in paths] == ["3", "4"]
    assert paths[0].parent == paths[1].parent
    assert circuit_directory(own_run, TASK, replace(LEARNED, target_loss=0.2)).parent != paths[0].parent


def test_the_means_are_over_a_hundred_thousand_tokens() -> None:
    assert PruneConfig().means_tokens >= 100_000


@pytest.mark.slow
def test_zero_ablation_is_an_option(own_run: Run, own_task: str) -> None:
    zero = replace(LEARNED, ablation="zero")
    circuit = prune(own_run, own_task, zero)
    stored = load_circuit(circuit_directory(own_run, TASK, zero))
    assert circuit.ablation == "zero"
    assert not any(mean.any() for mean in stored.means.values())


def test_tasks_that_are_not_there_are_refused(own_run: Run) -> None:
    with pytest.raises(UserError, match="did you mean while_return_true"):
        prune(own_run, "while_return_ture", quick())
    with pytest.raises(Unavailable, match="train with a larger model.vocab_size"):
        prune(own_run, "bracket_counting", quick())
    with pytest.raises(UserError, match="missing"):
        prune(own_run, "nowhere.jsonl", quick())
    assert not (own_run.path / "circuits").exists()
