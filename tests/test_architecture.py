"""The house keeps its shape: imports run one way, nothing is pickled, libraries do not print, dependencies are used."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "thinwire"
FILES = sorted(PACKAGE.rglob("*.py"))

# Stage -> the stages that it imports, no more and no fewer (docs/architecture.md).
IMPORTS = {
    "errors": set(),
    "progress": set(),
    "ranges": {"errors"},
    "version": set(),
    "kernels": set(),
    "storage": {"errors"},
    "sparsity": {"kernels"},
    "data": {"errors", "progress", "ranges", "storage"},
    "model": {"errors", "kernels", "ranges", "sparsity"},
    "tasks": {"errors", "storage"},
    "training": {"data", "errors", "kernels", "model", "progress", "ranges", "sparsity", "storage"},
    "circuits": {"errors", "model", "progress", "storage", "tasks"},
    "decompile": {"circuits", "errors", "model", "progress"},
    "evidence": {"circuits", "data", "model"},
    "ground_truth": {"circuits", "errors", "model", "storage", "tasks"},
    "pruning": {"circuits", "errors", "kernels", "model", "progress", "ranges", "storage", "tasks", "version"},
    "verification": {"circuits", "errors", "model", "progress", "ranges", "storage", "tasks"},
    "inference": {"circuits", "data", "errors", "kernels", "model", "ranges", "storage"},
    "frontier": {"circuits"},
    "viewer": {"circuits", "errors", "evidence", "model", "storage"},
    "interop": {"circuits", "data", "errors", "evidence", "model", "storage", "version"},
    "runs": {
        *("circuits", "data", "errors", "frontier", "inference", "model", "progress", "pruning", "sparsity"),
        *("storage", "tasks", "training", "verification", "version"),
    },
    "workflows": {
        *("circuits", "data", "decompile", "errors", "evidence", "frontier", "ground_truth", "inference", "interop"),
        "kernels",
        *(
            "model",
            "progress",
            "pruning",
            "ranges",
            "runs",
            "sparsity",
            "storage",
            "tasks",
            "training",
            "verification",
            "version",
            "viewer",
        ),
    },
    "cli": {
        *("data", "errors", "frontier", "ground_truth", "inference", "progress", "pruning", "storage", "training"),
        *("verification", "version", "workflows"),
    },
    "__main__": {"cli"},
    "__init__": {"circuits", "model", "pruning", "runs", "tasks", "version", "workflows"},
}
RENDERERS = {"cli"}
UNTYPED = {
    "thinwire/workflows/live.py: evaluate",
    "thinwire/workflows/live.py: measured",
}
"""What a live page is sent: its own documents, of which `viewer.contract` is the record."""
UNCHECKED = {"cli", "interop", "kernels", "sparsity"}
"""Stages whose types are not checked while tests run: numba cannot compile what a check wraps (a part of `sparsity` is
checked), and what parsers and other people's files hand on is checked where it arrives."""
MODULE_OF = {"pyyaml": "yaml"}  # distributions whose module has another name
TOOL_OF = {  # development tools that nothing imports -> where they are used
    "thinwire": ("pyproject.toml", "thinwire[search"),
    "axe-playwright-python": ("tests/chromium.py", "axe_playwright_python"),
    "beartype": ("pyproject.toml", "beartype.beartype"),
    "furo": ("docs/conf.py", '"furo"'),
    "ipykernel": ("docs/notebooks/your_own_task.ipynb", '"kernelspec"'),
    "myst-nb": ("docs/conf.py", '"myst_nb"'),
    "pytest-timeout": ("pyproject.toml", "\ntimeout ="),
    "pytest-xdist": ("Makefile", "pytest -n"),
    "ruff": ("Makefile", "/ruff check"),
    "sphinx": ("Makefile", "-m sphinx"),
    "pyright": ("Makefile", "/pyright"),
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[str]:
    """Dotted names of all modules that a file imports, inside functions too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""


def imported_from(path: Path) -> set[str]:
    """Modules of `from module import name`."""
    return {node.module or "" for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom)}


def calls(path: Path) -> list[ast.expr]:
    """What a file calls."""
    return [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]


def stage(module: str) -> str | None:
    """Stage of a dotted module name; None for the bare package and for everything outside it."""
    parts = module.split(".")
    return parts[1] if parts[0] == "thinwire" and len(parts) > 1 else None


def stage_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def dotted(node: ast.AST) -> str:
    """`a.b.c` of nested attributes; empty if it starts from anything but a name."""
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return node.id if isinstance(node, ast.Name) else ""


def distributions(requirements: list[str]) -> list[str]:
    return [re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in requirements]


def optional(project: dict) -> set[str]:
    """Modules that the extras bring, without tools and packages whose sources are text to learn from."""
    extras = project["optional-dependencies"]
    extras = {extra: names for extra, names in extras.items() if extra not in ("dev", "docs", "corpus")}
    return {MODULE_OF.get(name, name) for names in extras.values() for name in distributions(names)}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path) for path in FILES}


def imported_modules(path: Path) -> set[str]:
    """The package's modules that a file imports; `from package import module` names the module."""
    found = {module for module in imports(path) if module in MODULES}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom):
            found |= {name for alias in node.names if (name := f"{node.module}.{alias.name}") in MODULES}
    return found


def test_every_stage_imports_what_the_plan_says_and_all_of_it() -> None:
    reached: dict[str, set[str]] = {stage_of(path): set() for path in FILES}
    for path in FILES:
        reached[stage_of(path)] |= {found for module in imports(path) if (found := stage(module))} - {stage_of(path)}
    assert reached == IMPORTS, "say it in docs/architecture.md and in IMPORTS"


def test_no_circle_of_modules() -> None:
    """Neither between stages nor inside one; an import inside a function counts."""
    needs = {module_of(path): imported_modules(path) for path in FILES}
    done: set[str] = set()
    while ready := {name for name in needs.keys() - done if needs[name] - {name} <= done}:
        done |= ready
    assert sorted(needs.keys() - done) == []


def test_judging_searching_and_explaining_stand_side_by_side() -> None:
    rooms = ("verification", "pruning", "evidence")
    assert [IMPORTS[room] & set(rooms) for room in rooms] == [set(), set(), set()]


def test_nobody_imports_the_bare_package() -> None:
    """`import thinwire` is no way around the order: its lazy names reach the workflows."""
    bare = [named(path) for path in FILES if "thinwire" in {*imports(path), *imported_from(path)}]
    assert bare == []


def test_nothing_is_pickled() -> None:
    pickles = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    assert [named(path) for path in FILES if {module.partition(".")[0] for module in imports(path)} & pickles] == []
    foreign = "thinwire/interop/torch_file.py"  # other people's files: tensors by name, never objects
    found = [
        (named(path), dotted(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords})
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and dotted(node.func) in {"torch.save", "torch.load"}
    ]
    assert {file for file, _, _ in found} == {foreign}
    assert [words.get("weights_only") for _, function, words in found if function == "torch.load"] == ["True"]


def test_no_device_is_wired_in() -> None:
    def moves(call: ast.expr) -> bool:
        return isinstance(call, ast.Attribute) and call.attr == "cuda"

    assert [named(path) for path in FILES if any(map(moves, calls(path)))] == []


def test_what_a_workflow_gives_is_typed() -> None:
    """No function that others call gives a bare `dict` or one of `Any`; `to_dict` is how a record is written."""
    found = {
        f"{named(path)}: {node.name}"
        for path in FILES
        if stage_of(path) == "workflows"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name != "to_dict"
        if node.returns is None or re.search(r"\bAny\b|\bdict\b(?!\[)", ast.unparse(node.returns))
    }
    assert found == UNTYPED


def test_verbs_hand_on_what_their_workflow_gives() -> None:
    """A verb builds no result by hand: what `run` returns is a record's class."""
    untyped = {
        named(path)
        for path in FILES
        if path.parent.name == "verbs"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef) and node.name == "_run"
        if node.returns is None or "dict" in ast.unparse(node.returns)
    }
    assert untyped == set()


def test_library_code_does_not_print() -> None:
    prints = {"print", "sys.stdout.write", "sys.stderr.write"}
    library = [path for path in FILES if stage_of(path) not in RENDERERS]
    assert [named(path) for path in library if {dotted(call) for call in calls(path)} & prints] == []


def test_files_are_named_after_what_they_hold() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "v2"}
    assert [path for path in PACKAGE.rglob("*") if path.stem.lower() in vague] == []


def test_package_files_are_empty_so_that_imports_stay_direct() -> None:
    assert [named(path) for path in PACKAGE.rglob("*/__init__.py") if path.read_text().strip()] == []


def test_every_dependency_is_used_and_every_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {MODULE_OF.get(name, name) for name in distributions(project["dependencies"])}
    imported = {module.partition(".")[0] for path in FILES for module in imports(path)}
    assert imported - set(sys.stdlib_module_names) - {"thinwire"} - optional(project) == declared


def test_optional_dependencies_are_imported_where_they_are_used() -> None:
    """Without its extra a module still imports: what an extra installs is named inside functions only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    eager = {}
    for path in FILES:
        top = [node for node in tree(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in top if isinstance(node, ast.ImportFrom)}
        if found := {name.partition(".")[0] for name in names} & optional(project):
            eager[named(path)] = found
    assert {file: found for file, found in eager.items() if file != "thinwire/kernels/gpu.py"} == {}


def test_every_extra_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    imported = {module for path in FILES for module in imports(path)}
    through_torch = {"tensorboard"} if "torch.utils.tensorboard" in imported else set()
    assert optional(project) - {module.partition(".")[0] for module in imported} == through_torch


def test_every_development_tool_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tests = sorted((ROOT / "tests").rglob("*.py"))
    imported = {module.partition(".")[0] for path in tests for module in imports(path)}
    tools = [name for extra in ("dev", "docs") for name in project["optional-dependencies"][extra]]
    for name in distributions(tools):
        file, trace = TOOL_OF.get(name, ("", ""))
        assert name in imported or (file and trace in (ROOT / file).read_text()), f"{name} is installed for nothing"


def test_versions_are_pinned_for_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.lower().split("==") for line in lines if not line.startswith("#"))
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = {name for group in groups for name in distributions(group)} - {"thinwire"}
    assert wanted <= set(pinned)
    assert (pinned["torch"], pinned["triton"]) == ("2.13.0", "3.7.1"), "torch for Linux asks for one triton, exactly"


@pytest.mark.parametrize(
    "module", ["thinwire", "thinwire.cli.main", "thinwire.training.config", "thinwire.pruning.config"]
)
def test_importing_is_cheap(module: str) -> None:
    """Neither the package, nor its command line, nor a config pulls torch or numba in."""
    code = f"import {module}, sys; sys.exit(', '.join({{'torch', 'numba'}} & sys.modules.keys()) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_shapes_and_types_are_checked_while_tests_run() -> None:
    """Holds jaxtyping's option in pyproject.toml: a wrong type is refused at the boundary of every checked stage."""
    from thinwire.sparsity.topk import abs_topk
    from thinwire.storage.files import sha256

    with pytest.raises(TypeError, match="sha256"):
        sha256("text instead of bytes")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="abs_topk"):
        abs_topk([1.0, 2.0], 1)  # pyright: ignore[reportArgumentType]
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["addopts"]
    (packages,) = (option for option in options if option.startswith("--jaxtyping-packages="))
    stages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - UNCHECKED
    assert {f"thinwire.{stage}" for stage in stages} <= set(packages.partition("=")[2].split(","))
