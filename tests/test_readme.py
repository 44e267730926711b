"""What the README says can be done can be done."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from tiny_world import quick

from thinwire.cli.registry import VERBS
from thinwire.verification.registry import TESTS
from thinwire.version import __version__
from thinwire.workflows import prune

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.usefixtures("brief_verification")
def test_the_python_snippet_runs_as_it_stands(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a tiny run in the demo's place, with fewer steps of pruning."""
    shutil.copytree(tiny_path, tmp_path / "runs/demo/sparse")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prune, "rungs", lambda config: [quick()])
    (snippet,) = blocks("python")
    exec(compile(snippet, "README.md", "exec"), {})
    assert re.match(r"\d+ \d+ \d\.\d+\n", capsys.readouterr().out)


def test_every_command_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = [line.split("#")[0].split() for block in blocks("sh") for line in block.splitlines() if line.strip()]
    assert {words[0] for words in commands} <= {"make", "thinwire"}
    for words in commands:
        if words[0] == "make":
            assert f"\n{words[1]}:" in makefile
        else:
            assert words[1] in VERBS or " ".join(words[1:3]) in VERBS


def test_every_file_that_is_linked_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert [link for link in links if not (ROOT / link.partition("#")[0]).exists()] == []


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert {"cff-version", "message", "title", "authors", "license"} <= citation.keys()


def test_the_number_of_tests_is_that_of_the_registry() -> None:
    assert "fifteen tests that a circuit may fail" in README
    assert len(TESTS) == 15
