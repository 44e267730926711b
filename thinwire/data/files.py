"""Where the files of a corpus lie: relative name -> path, sorted by name.

Only ordinary files are taken: pipes, devices and links that lead nowhere are passed over. A link to a file inside the
folder is followed (the copy is then an exact duplicate); one that leads out of a user's folder is not, and is counted:
what a corpus holds is what lies in its folder. Folders behind links are not entered. The interpreter's own files are
taken wherever their links lead, for some systems install them as links.
"""

import os
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import NoReturn

from thinwire.errors import MissingExtra, UserError

TEST_FOLDERS = frozenset({"test", "tests", "idle_test"})
"""Where the standard library keeps its tests."""


@dataclass(frozen=True)
class Files:
    """The files of one source."""

    paths: dict[str, Path]
    """Relative name (with `/`) -> path, sorted by name."""
    n_links: int = 0
    """Links out of the folder, which were not followed."""


def stdlib_files() -> Files:
    """The running interpreter's standard library: its public list of modules leaves out what a build or a site adds."""
    found = _walk(_stdlib(), (".py",), lambda folder: folder in TEST_FOLDERS)
    return _sorted((name, path) for name, path in found if _top(name) in sys.stdlib_module_names)


def stdlib_test_files() -> Files:
    """The tests of the standard library. Raises `UserError` where the interpreter came without them."""
    found = _walk(_stdlib(), (".py",), lambda folder: False)
    known = sys.stdlib_module_names | {"test"}
    tests = [(name, path) for name, path in found if _top(name) in known and TEST_FOLDERS & set(name.split("/")[:-1])]
    if not any(name.startswith("test/test_") for name, _ in tests):
        raise UserError(
            "stdlib-tests: this Python came without its tests; install them (on Debian libpython3-testsuite) or drop "
            "the source"
        )
    return _sorted(tests)


def installed_files(packages: str) -> Files:
    """The .py files of installed packages, by the names that pip gives them, several between commas.

    Raises `UserError` naming the package that is not there.
    """
    found: dict[str, Path] = {}
    for package in filter(None, packages.split(",")):
        listed = [file for file in _distribution(package).files or () if file.name.endswith(".py")]
        paths = {_printable(file.as_posix()): Path(str(file.locate())) for file in listed if ".." not in file.parts}
        found |= {name: path for name, path in paths.items() if path.is_file()}
        if not paths:
            raise UserError(f"installed:{package} has no .py files on record; name its folder instead")
    return _sorted(found.items())


def installed_versions(packages: str) -> dict[str, str]:
    """Package -> installed version."""
    return {package: _distribution(package).version for package in filter(None, packages.split(","))}


def folder_files(folder: Path, endings: tuple[str, ...]) -> Files:
    """All files of a folder with one of the endings, but for those below hidden folders."""
    root = folder.resolve()
    found = dict(_walk(folder, endings, _is_hidden))
    outside = {name for name, path in found.items() if path.is_symlink() and not path.resolve().is_relative_to(root)}
    n_folders = sum(not path.resolve().is_relative_to(root) for path in _linked_folders(folder))
    return Files({name: found[name] for name in sorted(found.keys() - outside)}, len(outside) + n_folders)


def single_file(path: Path) -> Files:
    """One file, whatever its name."""
    return Files({_printable(path.name): path})


def endings_there(folder: Path) -> str:
    """The endings of a folder's files, the most frequent first, for messages; empty where there are none."""
    found = (path.suffix for _, path in _walk(folder, ("",), _is_hidden))
    return ", ".join(f"{ending or 'none'} ({n})" for ending, n in Counter(found).most_common(5))


def _stdlib() -> Path:
    return Path(sysconfig.get_paths()["stdlib"])


def _top(name: str) -> str:
    return name.split("/")[0].removesuffix(".py")


def _distribution(package: str) -> Distribution:
    try:
        return distribution(package)
    except (PackageNotFoundError, ValueError):
        raise MissingExtra(f"installed:{package}: there is no such package here", "corpus", package) from None


def _sorted(found: Iterable[tuple[str, Path]]) -> Files:
    return Files(dict(sorted(found)))


def _is_hidden(folder: str) -> bool:
    return folder.startswith(".")


def _linked_folders(root: Path) -> Iterator[Path]:
    """Links to folders, which `_walk` does not enter."""
    for folder, subfolders, _ in os.walk(root):
        subfolders[:] = [name for name in subfolders if not _is_hidden(name)]
        yield from (path for name in subfolders if (path := Path(folder, name)).is_symlink())


def _walk(root: Path, endings: tuple[str, ...], leave_out: Callable[[str], bool]) -> Iterator[tuple[str, Path]]:
    for folder, subfolders, files in os.walk(root, onerror=_refuse):
        subfolders[:] = [name for name in subfolders if not leave_out(name)]
        for file in files:
            path = Path(folder, file)
            if file.endswith(endings) and path.is_file():
                yield _printable(path.relative_to(root).as_posix()), path


def _printable(name: str) -> str:
    """A file name that is no valid UTF-8 has its bytes shown as escapes, so that it can be hashed and stored."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _refuse(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename} cannot be read ({error.strerror}); make it readable or move it away") from None
