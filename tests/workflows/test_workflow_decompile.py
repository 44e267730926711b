"""Circuits of the model that comes with the package, as programs that run without torch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from decompiled import evaluated, logits_of, program_of, run_alone, texts_of

from thinwire.circuits.isolated import isolate_circuit
from thinwire.circuits.prompts import Prompts
from thinwire.cli.arguments import new_parser
from thinwire.cli.main import main
from thinwire.cli.registry import VERBS
from thinwire.decompile.evaluate import Batch
from thinwire.decompile.simplify import LEAST
from thinwire.runs.run import load
from thinwire.runs.shipped import SHIPPED
from thinwire.runs.stored import open_circuit
from thinwire.runs.trained import Trained
from thinwire.workflows.decompile import choose_circuit, decompile, decompile_run

LINES = 40
AGREEMENT = {"single_double_quote": 0.98, "bracket_brace": 0.98, "except_raise": 0.9}
"""Task -> share of test pairs that its program answers as its circuit (docs/decompile.md)."""


@pytest.fixture(scope="module")
def headline() -> Trained:
    return load(SHIPPED / "headline", "cpu")


def _difference(run: Trained, path: Path) -> tuple[np.ndarray, Prompts]:
    """The circuit's difference on its test prompts, by torch."""
    stored = open_circuit(run, path)
    prompts = Prompts.of(stored.pairs["test"])
    alone = isolate_circuit(run.model, stored.circuit, stored.means, prompts, "minimal")
    with torch.no_grad():
        return alone.difference().numpy(), prompts


def _texts(run: Trained, prompts: Prompts) -> list[list[str]]:
    return texts_of(prompts, [run.tokenizer.token_text(token) for token in range(run.tokenizer.vocab_size)])


@pytest.mark.parametrize(
    "task",
    [
        "bracket_brace",
        pytest.param("single_double_quote", marks=pytest.mark.slow),
        pytest.param("except_raise", marks=pytest.mark.slow),
    ],
)
def test_a_short_program_answers_as_the_circuit(headline: Trained, task: str, tmp_path: Path) -> None:
    path = choose_circuit(headline, task)
    made = decompile(headline, path)
    (tmp_path / "short.py").write_text(made.source)
    wanted, prompts = _difference(headline, path)
    alike = (run_alone(tmp_path / "short.py", _texts(headline, prompts)) > 0) == (wanted > 0)
    clean, corrupt = np.split(alike, 2)
    assert float((clean & corrupt).mean()) == made.facts.test.pairs >= AGREEMENT[task]
    assert made.facts.validation.pairs >= 0.98
    assert made.facts.lines == len(made.source.splitlines()) <= LINES
    assert max(map(len, made.source.splitlines())) <= 120
    assert made.facts.exact_error < 1e-5
    assert f"{made.facts.test.pairs:.1%} of 256 test pairs" in made.source


@pytest.mark.parametrize("task", ["single_double_quote", pytest.param("except_raise", marks=pytest.mark.slow)])
def test_the_exact_program_gives_the_circuits_logits_on_all_test_pairs(
    headline: Trained, task: str, tmp_path: Path
) -> None:
    path = choose_circuit(headline, task)
    (tmp_path / "exact.py").write_text(decompile(headline, path, exact=True).source)
    wanted, prompts = _difference(headline, path)
    found = run_alone(tmp_path / "exact.py", _texts(headline, prompts))
    assert np.abs(found - wanted).max() < 1e-5


@pytest.mark.slow
def test_every_shipped_circuit_unrolls_exactly(headline: Trained) -> None:
    for path in headline.circuit_directories():
        stored = open_circuit(headline, path)
        prompts = Prompts.of(stored.pairs["test"])
        alone = isolate_circuit(headline.model, stored.circuit, stored.means, prompts, "minimal")
        found = evaluated(program_of(alone), Batch.of(prompts))
        assert np.abs(found - logits_of(alone)).max() < 1e-5, path


def test_it_runs_as_a_script_on_lists_of_tokens(headline: Trained, tmp_path: Path) -> None:
    file = tmp_path / "brace.py"
    written = decompile_run(headline.path, "bracket_brace", out=file, device="cpu")
    assert written.program == str(file)
    prompts = "".join(json.dumps([" x", " =", opening, "1"]) + "\n" for opening in (" [", " {"))
    done = subprocess.run([sys.executable, str(file)], input=prompts, capture_output=True, text=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == ["]\n", "}\n"]
    assert decompile_run(headline.path, "bracket_brace", out=file, device="cpu").facts == written.facts  # over its own


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["with_open"], "holds no circuit of with_open"),
        (["except_raise", "--require", "faithful"], "there are: robust, sufficient"),
        (["bracket_brace", "--least", "2"], "least 2.0 is not in"),
        (["bracket_brace", "--circuit", "QUOTE"], "is a circuit of single_double_quote"),
        (["bracket_brace", "--circuit", "QUOTE", "--require", "robust"], "drop --require"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(
    headline: Trained, arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quote = str(choose_circuit(headline, "single_double_quote"))
    asked = [quote if word == "QUOTE" else word for word in arguments]
    out = tmp_path / "out.py"
    assert main(["decompile", str(headline.path), *asked, "--out", str(out)]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_a_file_of_somebody_else_is_not_written_over(
    headline: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "own.py"
    out.write_text("print('mine')\n")
    assert main(["decompile", str(headline.path), "bracket_brace", "--out", str(out)]) == 2
    assert "--out" in capsys.readouterr().err
    assert out.read_text() == "print('mine')\n"


def test_the_verb_asks_for_as_much_as_the_function() -> None:
    verb = VERBS["decompile"]
    parser = new_parser("decompile", verb.usage, verb.summary, verb.example)
    verb.add_arguments(parser, [])
    assert parser.get_defaults()["least"] == LEAST
