"""Models go out and come back by the command line, and what came back is a model like any other."""

import json
from pathlib import Path

import pytest
import torch
from tiny_world import SOLVED

from thinwire.cli.main import main
from thinwire.data.tokenizer import Tokenizer
from thinwire.runs.run import load

QUICK = ["--steps=10", "--batch_pairs=16", "--learning_rate=0.06", "--means_tokens=2048", "--sweep=none"]


@pytest.fixture(scope="module")
def exported(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "released"
    assert main(["export", "openai", str(tiny_path), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def imported(exported: Path, tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("imported") / "run"
    assert main(["import", "openai", str(exported), "--out", str(out), f"--text={tiny_corpus}"]) == 0
    return out


def test_what_comes_back_computes_the_same(tiny_path: Path, imported: Path) -> None:
    """Token ids are those of the exported files, in another order: prompts and answers are told by their texts."""
    ours, theirs = load(tiny_path), load(imported)
    answers = {}
    for run in (ours, theirs):
        encode = run.tokenizer.encode
        logits = run.model(torch.tensor([encode("def f(x):\n    return x")]))[0, -1]
        answers[run] = {run.tokenizer.token_text(i): float(logit) for i, logit in enumerate(logits)}
    assert answers[theirs] == pytest.approx(answers[ours], rel=1e-5, abs=1e-4)
    assert theirs.origin is not None
    assert theirs.origin.format == "openai"
    assert any("whether the model learnt from it is not known" in remark for remark in theirs.origin.remarks)


@pytest.mark.usefixtures("brief_verification", "brief_pages")
def test_everything_downstream_works_on_it(imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "check", str(imported), SOLVED, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"][0]["model_does"]
    assert main(["prune", str(imported), SOLVED, "--require=sufficient", *QUICK, "--json"]) == 0
    assert main(["verify", str(imported), "--json"]) == 0
    assert main(["view", str(imported), "--out", str(tmp_path / "page.html"), "--json"]) == 0
    assert (tmp_path / "page.html").stat().st_size > 10_000
    assert main(["export", "hf", str(imported), "--out", str(tmp_path / "hf"), "--json"]) == 0
    assert (tmp_path / "hf" / "config.json").exists()


def test_a_published_circuit_is_a_claim(tiny_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = load(tiny_path)
    nodes = {"0.mlp.post_act": [0, 3], "0.attn.resid_delta": [1], "0.attn.act_in": [2]}
    (tmp_path / "nodes.json").write_text(json.dumps(nodes))
    claim = tmp_path / "claim"
    words = [str(tiny_path), str(tmp_path / "nodes.json"), "--task", SOLVED, "--out", str(claim)]
    assert main(["import-circuit", *words, "--json"]) == 0
    # The format has no nodes for tokens and answers, so a claim holds all of these.
    assert json.loads(capsys.readouterr().out)["nodes"] == 4 + 2 * run.model_config.d_model
    assert main(["verify", str(tiny_path), str(claim), "--json"]) == 0
    assert json.loads((claim / "circuit.json").read_text())["target_loss"] == 0.15  # the paper's


@pytest.mark.parametrize("wrong", [["--target_loss=-1"], ["--target_loss=1e9"], ["--task=a/b"]])
def test_a_claim_that_verify_would_not_read_is_not_written(
    wrong: list[str], tiny_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nodes.json").write_text('{"0.mlp.post_act": [0]}')
    words = [str(tiny_path), str(tmp_path / "nodes.json"), "--task", SOLVED, "--out", str(tmp_path / "claim"), *wrong]
    assert main(["import-circuit", *words]) == 2
    assert wrong[0][2:].partition("=")[0] in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["nodes.json"]


@pytest.mark.parametrize("verb", [["import", "openai"], ["export", "hf"]])
def test_an_occupied_directory_and_a_folder_that_holds_nothing_are_refused(
    verb: list[str], tiny_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    (tmp_path / "empty").mkdir()
    assert main([*verb, str(tiny_path), "--out", str(tmp_path / "full")]) == 2
    assert "full is not empty; choose another directory or remove it" in capsys.readouterr().err
    assert main([*verb, str(tmp_path / "empty"), "--out", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_model_with_a_foreign_tokenizer_is_refused(
    exported: Path, stdlib_tokenizer_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["import", "openai", str(exported), "--out", str(out), f"--tokenizer={stdlib_tokenizer_file}"]) == 2
    assert "name the model's own tokenizer with --tokenizer" in capsys.readouterr().err
    assert not out.exists()


@pytest.fixture
def stdlib_tokenizer_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.json"
    path.write_text(
        Tokenizer.train([f"def name{i}(x):\n    return value{i}\n" for i in range(99)], 280).to_json(), encoding="utf-8"
    )
    return path
