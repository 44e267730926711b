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

BASE = {"errors", "storage", "progress"}
MODEL = BASE | {"data", "sparsity", "model"}
CIRCUITS = MODEL | {"tasks", "circuits"}
LIBRARY = CIRCUITS | {"training", "verification", "frontier", "viewer", "interop"}
# Stage -> the stages that it may import (docs/architecture.md).
MAY_IMPORT = {
    "errors": set(),
    "progress": set(),
    "storage": {"errors"},
    "data": BASE,
    "sparsity": BASE,
    "model": MODEL,
    "tasks": MODEL,
    "training": MODEL | {"tasks"},
    "circuits": MODEL | {"tasks"},
    "verification": CIRCUITS,
    "frontier": CIRCUITS | {"verification"},
    "viewer": {"errors", "storage"},
    "interop": MODEL,
    "workflows": LIBRARY,
    "console": {"progress"},
    "tables": {"storage", "console"},
    "arguments": {"errors", "storage", "training"},
    "verb_arguments": {"arguments", "circuits"},
    "verbs": {"errors", "arguments", "verb_arguments", "console", "training", "circuits", "workflows"},
    "cli": {"errors", "arguments", "tables", "verbs"},
    "__main__": {"cli"},
    "__init__": {"circuits", "workflows"},
}
RENDERERS = {"cli", "console", "tables"}
MODULE_OF = {"pyyaml": "yaml"}  # distributions whose module has another name
TOOL_OF = {  # development tools that nothing imports -> where they are used
    "thinwire": ("pyproject.toml", "thinwire[search"),
    "beartype": ("tests/conftest.py", "beartype.beartype"),
    "pytest-timeout": ("pyproject.toml", "\ntimeout ="),
    "pytest-xdist": ("Makefile", "pytest -n"),
    "ruff": ("Makefile", "/ruff check"),
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
    """Modules that the extras bring, development tools left out."""
    extras = {extra: names for extra, names in project["optional-dependencies"].items() if extra != "dev"}
    return {MODULE_OF.get(name, name) for names in extras.values() for name in distributions(names)}


def test_every_stage_has_a_place() -> None:
    strangers = {stage_of(path) for path in FILES} - set(MAY_IMPORT)
    assert not strangers, "give it a place in docs/architecture.md and in MAY_IMPORT"


def test_imports_run_one_way() -> None:
    wrong = {}
    for path in FILES:
        own = stage_of(path)
        reached = {found for module in imports(path) if (found := stage(module))}
        if against := reached - MAY_IMPORT[own] - {own}:
            wrong[named(path)] = against
    assert wrong == {}


def test_the_order_has_no_cycle() -> None:
    done: set[str] = set()
    while ready := {name for name, needs in MAY_IMPORT.items() if name not in done and needs - {name} <= done}:
        done |= ready
    assert done == set(MAY_IMPORT)


def test_the_bare_package_gives_the_library_its_version_and_place_only() -> None:
    """`import thinwire` is no way around the order: its lazy names reach the workflows."""
    used = {dotted(node) for path in FILES for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}
    names = {name for name in used if re.fullmatch(r"thinwire\.\w+", name)}
    assert names <= {"thinwire.__version__", "thinwire.__file__"}
    assert [named(path) for path in FILES if "thinwire" in imported_from(path)] == []


def test_verification_judges_circuits_without_the_pruning() -> None:
    reached = {module for path in FILES if stage_of(path) == "verification" for module in imports(path)}
    assert reached & {"thinwire.circuits.prune", "thinwire.circuits.mask"} == set()


def test_nothing_is_pickled() -> None:
    pickles = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    assert [named(path) for path in FILES if {module.partition(".")[0] for module in imports(path)} & pickles] == []
    assert [
        named(path) for path in FILES if {dotted(call) for call in calls(path)} & {"torch.save", "torch.load"}
    ] == []


def test_no_device_is_wired_in() -> None:
    def moves(call: ast.expr) -> bool:
        return isinstance(call, ast.Attribute) and call.attr == "cuda"

    assert [named(path) for path in FILES if any(map(moves, calls(path)))] == []


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
    assert {file: found for file, found in eager.items() if file != "thinwire/sparsity/kernels/gpu.py"} == {}


def test_every_extra_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    imported = {module for path in FILES for module in imports(path)}
    through_torch = {"tensorboard"} if "torch.utils.tensorboard" in imported else set()
    assert optional(project) - {module.partition(".")[0] for module in imported} == through_torch


def test_every_development_tool_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tests = sorted((ROOT / "tests").glob("*.py"))
    imported = {module.partition(".")[0] for path in tests for module in imports(path)}
    for name in distributions(project["optional-dependencies"]["dev"]):
        file, trace = TOOL_OF.get(name, ("", ""))
        assert name in imported or (file and trace in (ROOT / file).read_text()), f"{name} is installed for nothing"


def test_versions_are_pinned_for_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.lower().split("==") for line in lines if not line.startswith("#"))
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = {name for group in groups for name in distributions(group)} - {"thinwire"}
    assert wanted <= set(pinned)
    assert pinned["torch"] == "2.13.0"


@pytest.mark.parametrize("module", ["thinwire", "thinwire.cli", "thinwire.training.config", "thinwire.circuits.config"])
def test_importing_is_cheap(module: str) -> None:
    """Neither the package, nor its command line, nor a config pulls torch or numba in."""
    code = f"import {module}, sys; sys.exit(', '.join({{'torch', 'numba'}} & sys.modules.keys()) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_shapes_and_types_are_checked_while_tests_run() -> None:
    """Holds the import hook of conftest.py: a wrong type is refused at the boundary."""
    from thinwire.sparsity.topk import abs_topk
    from thinwire.storage import sha256

    with pytest.raises(TypeError, match="sha256"):
        sha256("text instead of bytes")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="abs_topk"):
        abs_topk([1.0, 2.0], 1)  # pyright: ignore[reportArgumentType]
