"""The pages under docs/: blocks of Python run, commands are understood, links lead somewhere, notebooks work."""

import re
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import command_page
import nbformat
import pytest
from nbclient import NotebookClient
from tiny_world import quick, tiny_config

import thinwire
from thinwire.cli.arguments import new_parser, parse
from thinwire.cli.registry import VERBS
from thinwire.runs import jobs
from thinwire.runs.run import Run
from thinwire.training import recipes
from thinwire.workflows import prune, view

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOKS = sorted(DOCS.glob("notebooks/*.ipynb"))
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted(DOCS.glob("*.md")))]
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


@pytest.mark.usefixtures("brief_verification")
def test_blocks_of_the_how_to_pages_run(
    tiny_path: Path, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, with a training of a few steps, and a thread in the place of a cluster."""
    shutil.copytree(tiny_path, tmp_path / "runs/demo/sparse")
    shutil.copytree(tiny_corpus, tmp_path / "my/code")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prune, "rungs", lambda config: [quick()])
    monkeypatch.setattr(recipes, "recipe", lambda name: tiny_config(tiny_corpus, steps=20))
    monkeypatch.setattr(jobs, "RayExecutor", lambda: ThreadPoolExecutor(1))
    for page in ("own_task.md", "many_gpus.md", "own_data.md", "own_model.md"):
        names: dict[str, object] = {}
        for block in blocks(page):
            exec(compile(block, page, "exec"), names)
    assert thinwire.load("runs/by-hand").origin is not None
    assert {path.parts[-3] for path in thinwire.load("runs/demo/sparse").circuit_directories()} == {"loops"}
    assert isinstance(thinwire.load("runs/mine"), Run)


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


# --- the pages as a site --------------------------------------------------------------------------------------------


def pages() -> list[str]:
    return sorted(path.relative_to(DOCS).with_suffix("").as_posix() for path in (*DOCS.glob("*.md"), *NOTEBOOKS))


def test_every_page_has_its_place_in_the_index() -> None:
    listed = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(encoding="utf-8"), re.DOTALL)
    named = [line for block in listed for line in block.splitlines() if line and not line.startswith(":")]
    assert sorted([*named, "index"]) == pages()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_also_on_a_code_host(page: str) -> None:
    """Relative, to what is there: a site's builder follows the same."""
    path = DOCS.parent / page
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    local = [link.partition("#")[0] for link in links if not link.startswith(("http", "#"))]
    assert [link for link in local if link and not (path.parent / link).exists()] == []


def test_commands_are_as_the_parsers_say() -> None:
    page = command_page.PAGE.read_text(encoding="utf-8")
    assert command_page.BLOCK.findall(page) == [command_page.generated()], "run: .venv/bin/python tests/command_page.py"


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/commands.md"])  # tests/cli has its examples
def test_commands_on_a_page_are_understood(page: str) -> None:
    """Every line of a block that begins with `thinwire`, torchrun's too, by the parser of its verb."""
    from thinwire.cli.main import _split

    text = (DOCS.parent / page).read_text(encoding="utf-8").replace("\\\n", " ")
    for shell in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        text += "".join(f"\n    {line}" for line in shell.splitlines())
    for line in re.findall(r"^(?: {4,}|\$ )(?:torchrun .* -m )?thinwire +(.*)$", text, re.MULTILINE):
        words = shlex.split(line, comments=True)
        if not words or words[0].startswith("--") or {"VERB", "..."} & set(words):
            continue
        name, rest = _split(words)
        verb = VERBS[name]
        parser = new_parser(name, verb.usage, verb.summary, verb.example)
        verb.add_arguments(parser, rest)
        if "--print_config" not in rest:
            parse(parser, rest)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_hold_no_outputs(notebook: Path) -> None:
    """They are made when the site is built, so that none goes stale."""
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.source for cell in cells if cell.outputs or cell.execution_count is not None] == []


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(notebook: Path, tmp_path: Path) -> None:
    """As `make docs` runs them in CI."""
    book = nbformat.read(notebook, as_version=4)
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = "".join(output.get("text", "") for cell in book.cells for output in cell.get("outputs", ()))
    assert "right on" in said and re.search(r"^(faithful|sufficient only|not supported)$", said, re.MULTILINE)
