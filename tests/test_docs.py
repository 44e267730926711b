"""docs/from_python.md and docs/architecture.md: every block of Python runs, and paths may be texts."""

import re
import shutil
from pathlib import Path

import pytest
from tiny_world import quick

import thinwire
from thinwire.workflows import prune, view

DOCS = Path(__file__).parents[1] / "docs"
LONGEST = 5
"""Lines of code under one heading's block, imports not counted."""


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.usefixtures("brief_verification")
def test_every_block_runs_in_order(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a tiny run in the demo's place, with fewer steps of pruning."""
    shutil.copytree(tiny_path, tmp_path / "runs/demo/sparse")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(vars(thinwire), "PruneConfig", quick)
    names: dict[str, object] = {}
    for number, block in enumerate(blocks("from_python.md"), 1):
        exec(compile(block, f"from_python.md, block {number}", "exec"), names)
        lines = [line for line in block.splitlines() if line and not line.startswith(("import ", "from "))]
        assert len(lines) <= LONGEST, f"block {number}"
    said = capsys.readouterr().out
    assert "'blocks.0.attn.hook_pattern': (2, 4, " in said and "solved " in said and "\nown " in said


def test_paths_may_be_texts_everywhere(
    tiny_path: Path, tmp_path: Path, own_task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "NODE_EFFECTS", 0)
    path = str(shutil.copytree(tiny_path, tmp_path / "run"))
    circuit = thinwire.prune(path, own_task, quick())
    assert thinwire.verify(path, str(circuit.directory)).claim.task == circuit.task
    assert thinwire.show(path, str(circuit.directory), height=300).height == 300


def test_resume_means_in_python_what_it_means_on_the_command_line(
    tiny_path: Path, tmp_path: Path, own_task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it a search is made anew, with it a finished circuit is taken as it is."""
    run = thinwire.load(shutil.copytree(tiny_path, tmp_path / "run"))
    found = thinwire.prune(run, own_task, quick())
    searches: list[int] = []
    real = prune.prune_model
    monkeypatch.setattr(prune, "prune_model", lambda *args: searches.append(len(args[1])) or real(*args))
    assert thinwire.prune(run, own_task, quick(), resume=True) == found and searches == []
    assert thinwire.prune(run, own_task, quick()) == found and searches == [1]
    prune.prune_run(run.path, [own_task], quick(), resume=True)
    assert searches == [1]
    prune.prune_run(run.path, [own_task], quick())
    assert searches == [1, 1]


def test_the_floor_plan_shows_every_room() -> None:
    plan = (DOCS / "architecture.md").read_text(encoding="utf-8").partition("thinwire/\n")[2].partition("\n\n")[0]
    package = DOCS.parent / "thinwire"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    files = {path.stem for path in package.glob("*.py") if not path.stem.startswith("__")}
    assert {name for name in re.findall(r"(\w+)/", plan) if (package / name).is_dir()} == rooms | {"models"}  # data
    assert files <= set(re.findall(r"\w+", plan.splitlines()[-1]))


def test_the_forward_pass_has_the_arguments_that_the_page_says() -> None:
    from inspect import Parameter, signature

    from thinwire.model.gpt import GPT
    from thinwire.model.hooks import identity

    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert "`model(tokens, hook=identity, edges=None)`" in page
    given = [p for name, p in signature(GPT.forward).parameters.items() if name != "self"]
    assert [(p.name, p.default) for p in given] == [("tokens", Parameter.empty), ("hook", identity), ("edges", None)]


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_files_that_a_page_names_are_there(page: str) -> None:
    """Those of the tree; runs and what users write are no part of it."""
    text = (DOCS / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:thinwire|tests|benchmarks|docs)/[\w./-]+\.(?:py|md|html|js|css|toml|json))`", text))
    assert [name for name in sorted(named) if page != "log.md" and not (DOCS.parent / name).exists()] == []
