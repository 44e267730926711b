"""The benchmark measures, stores, goes on where it was interrupted, and tells what is wrong."""

import json
from pathlib import Path

import pytest

from thinwire.cli.main import main
from thinwire.errors import UserError
from thinwire.workflows.benchmark import BenchmarkConfig, benchmark

QUICK = BenchmarkConfig(methods=("magnitude", "chance"), judge=False)


def test_a_family_is_measured_and_stored(tmp_path: Path) -> None:
    found = benchmark(tmp_path / "out", ["superposed_features"], config=QUICK)
    (model,) = found.models
    assert (model.n_true_nodes, model.n_true_edges, model.n_nodes) == (7, 3, 80)
    magnitude, chance = model.methods
    assert magnitude.nodes.recall == chance.nodes.recall == 1.0  # both go on until the target is met
    assert magnitude.nodes.precision < 1 and not magnitude.exact
    assert magnitude.nodes.auroc > 0.7
    assert len(magnitude.edges.faithfulness) == 10 and magnitude.edges.faithfulness[-1] == 1.0
    assert json.loads((tmp_path / "out/superposed_features-small-0.json").read_text()) == model.to_dict()
    assert found.summary.verdicts.n_truths == 0


def test_it_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    benchmark(tmp_path, ["superposed_features"], config=QUICK)
    before = (tmp_path / "superposed_features-small-0.json").stat().st_mtime_ns
    with pytest.raises(UserError, match="holds measurements already; go on with --resume"):
        benchmark(tmp_path, ["superposed_features"], config=QUICK)
    found = benchmark(tmp_path, ["superposed_features", "copy"], config=QUICK, resume=True)
    assert [model.family for model in found.models] == ["superposed_features", "copy"]
    assert (tmp_path / "superposed_features-small-0.json").stat().st_mtime_ns == before
    other = BenchmarkConfig(methods=("chance",), judge=False)
    again = benchmark(tmp_path, ["copy"], config=other, resume=True).models[0]
    assert [row.method for row in again.methods] == ["chance"]  # measured under another config: measured anew


def test_unknown_names_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no family is called copies; there are: copy"):
        benchmark(tmp_path / "out", ["copies"])
    with pytest.raises(UserError, match="no method is called magic; there are: sufficient"):
        benchmark(tmp_path / "out", config=BenchmarkConfig(methods=("magic",)))
    assert not (tmp_path / "out").exists()


def test_the_verb_prints_tables_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["benchmark", "--families", "superposed_features", "--methods", "chance", "--skip_verify"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert all(words in shown for words in ("nodes against the truth", "superposed features", "means over 1 model"))
    assert main([*words, "--out", str(tmp_path), "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["seed"] == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_pruning_returns_the_truth_and_verify_knows_it_from_a_wrong_circuit(tmp_path: Path) -> None:
    config = BenchmarkConfig(methods=("sufficient", "attribution, absolute"), n_less=1)
    (model,) = benchmark(tmp_path, ["superposed_features"], config=config).models
    assert [row.exact for row in model.methods] == [True, True]
    said = {verdict.claim: verdict.verdict for verdict in model.verdicts}
    assert said["truth"] == "faithful" and said["the wrong neuron"] == "not supported"
    assert all(verdict == "not supported" for claim, verdict in said.items() if " less: " in claim)
