"""`thinwire generate`: text on stdout as it is written, one document with --json, one line for what is wrong."""

import json
from pathlib import Path

import pytest

from thinwire.cli.main import main
from thinwire.runs.run import load


def test_text_is_streamed_to_stdout_and_told_on_stderr(tiny_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", str(tiny_path), "while True:", "--max-tokens", "8", "--seed", "1"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    expected = load(tiny_path, "cpu").generate("while True:", max_tokens=8, seed=1).result()
    assert out == f"while True:{expected.text}\n"
    last = err.splitlines()[-1]
    assert last.startswith(f"8 tokens by {tiny_path} in ") and last.endswith("; as many as were asked for")
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert list(document) == ["run", "circuit", "prompt", "text", "tokens", "n_prompt_tokens", "stopped", "seconds"]
    assert (document["text"], document["tokens"]) == (expected.text, list(expected.tokens))
    assert (document["run"], document["circuit"], document["stopped"]) == (str(tiny_path), None, "max_tokens")


def test_a_circuit_is_named_by_its_task_or_directory(pruned_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = load(pruned_path, "cpu").circuit_directories()
    documents = []
    for words in (["own"], [str(path)], ["own", "--edges", "minimal"], ["own", "--where", "seed=0"]):
        rest = ["--temperature", "0", "--max_tokens", "4", "--json"]
        assert main(["generate", str(pruned_path), "\n    while True", "--circuit", *words, *rest]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert {document["circuit"] for document in documents} == {str(path)}
    assert documents[0]["tokens"] == documents[1]["tokens"] == documents[3]["tokens"]
    assert main(["generate", str(pruned_path), "x", "--circuit", "own", "--max_tokens", "1"]) == 0
    assert f"1 token by the circuit in {path} in " in capsys.readouterr().err


@pytest.mark.parametrize("prompt", ["true", "null", "1", "[a, b]", "{a: 1}", "a: b", "# x", "'", '"', "&a", "!!str"])
def test_a_prompt_is_taken_as_it_stands(prompt: str, tiny_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(tiny_path), prompt, "--max_tokens", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prompt"] == prompt


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([""], "the prompt is empty; write some text to go on from"),
        (["x " * 99], "the model reads at most 32; shorten it"),
        (["x", "--temperature", "nan"], "temperature: expected float, got nan"),
        (["x", "--temperature", "-1"], "temperature -1.0 is not in [0, 100]"),
        (["x", "--top_p", "0"], "top_p 0.0 is not in (0, 1]"),
        (["x", "--max_tokens", "0"], "max_tokens 0 is not in [1, 1e6]"),
        (["x", "--circuit", "for_while"], "holds no circuit of for_while; there are circuits of own; find one with"),
        (["x", "--circuit", "own", "--where", "seed=7"], "no circuit here has seed=7"),
        (["x", "--where", "seed=7"], "--where chooses among a task's circuits; name the task with --circuit"),
        (["x", "--edges", "minimal"], "--edges is of a circuit; name one with --circuit"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    words: list[str], message: str, pruned_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(pruned_path), *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and message in err
