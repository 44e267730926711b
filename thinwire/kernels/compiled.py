"""Compiled kernels are kept on disk, under the hash of everything that they are made of.

numba keeps a compiled function under the hash of the file that it stands in, and does not see when a function that it
calls, in another file, has changed. Here all kernels lie in one folder, named by the hash of all kernel sources and of
the compiler's version: one that is there is right, whichever checkout it was compiled in. In it each function and
signature has a file of its own, which ends in the checksum of what is before it; one that is damaged is set aside and
compiled anew. Where no folder can be written, kernels live as long as the process.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile
from numba.core.caching import _CacheLocator as CacheLocator  # pyright: ignore[reportPrivateImportUsage]

UNUSED_DAYS = 60
"""A folder that no process has used for so long is removed."""
DIGEST_BYTES = 32


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` with these options, kept on disk where that can be."""

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**options)(function)
        if hasattr(dispatcher, "_cache") and kernel_folder():
            dispatcher._cache = _KernelCache(function)  # pyright: ignore[reportAttributeAccessIssue]
        return dispatcher

    return compiled


@cache
def source_hash() -> str:
    """Of all kernel sources and the versions of what compiles them."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {sys.version_info[:2]}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def folders() -> Iterator[Path]:
    """Where this version's kernels may lie, in order: `$NUMBA_CACHE_DIR`, `$THINWIRE_CACHE`, the user's own cache."""
    roots = [user_root()]
    if chosen := os.environ.get("THINWIRE_CACHE"):
        roots.insert(0, Path(chosen).expanduser() / "kernels")
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        roots.insert(0, Path(chosen).expanduser())
    yield from (root / f"thinwire-{source_hash()}" for root in roots)


def user_root() -> Path:
    """`$XDG_CACHE_HOME/thinwire/kernels`, else `~/.cache/thinwire/kernels`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~").expanduser() / ".cache") / "thinwire" / "kernels"


@cache
def kernel_folder() -> Path | None:
    """The folder of this version's kernels; None, with one warning, where none can be written."""
    for folder in folders():
        if is_writable(folder):
            _remove_unused(folder)
            return folder
    tried = ", ".join(map(str, folders()))
    warnings.warn(
        f"compiled kernels cannot be kept ({tried} cannot be written): every process compiles them anew, which takes "
        f"about half a minute; name a folder that can: export THINWIRE_CACHE=DIR",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in `folder`, which is made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        os.utime(folder)
    except OSError:
        return False
    return True


def _remove_unused(mine: Path) -> None:
    """Kernels of sources that nobody runs any more."""
    for folder in mine.parent.glob("thinwire-*"):
        if folder != mine and time.time() - folder.stat().st_mtime > UNUSED_DAYS * 86400:
            shutil.rmtree(folder, ignore_errors=True)


def is_whole(path: Path) -> bool:
    """Whether a file of a compiled kernel ends in the checksum of the rest."""
    content = path.read_bytes()
    return hashlib.sha256(content[:-DIGEST_BYTES]).digest() == content[-DIGEST_BYTES:]


class _Files(IndexDataCacheFile):
    """One file a signature, where numba has an index that processes overwrite for one another."""

    def save(self, key: Any, data: Any) -> None:
        self._save_data(self._name(key), data)

    def load(self, key: Any) -> Any:
        path = Path(self._data_path(self._name(key)))
        if not path.exists():
            return None
        if not is_whole(path):
            os.replace(path, path.with_suffix(".damaged"))
            return None
        return self._load_data(path.name)

    def flush(self) -> None:
        return None

    def _name(self, key: Any) -> str:
        return f"{self._data_name(0)[: -len('.0.nbc')]}-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"

    def _dump(self, obj: Any) -> bytes:
        content = super()._dump(obj)
        return content + hashlib.sha256(content).digest()  # which reading leaves out: the object ends before it


class _Locator(CacheLocator):
    """All functions in the one folder, told apart by file, name and line."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._py_file, self._line = file, function.__code__.co_firstlineno

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_Locator":
        return cls(py_func, py_file)

    def get_cache_path(self) -> str:
        return str(kernel_folder())

    def get_source_stamp(self) -> str:
        return source_hash()

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Impl(CompileResultCacheImpl):
    _locator_classes = [_Locator]


class _KernelCache(FunctionCache):
    _impl_class = _Impl

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, source_hash())

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:  # a full disk, or a folder that was removed: this process has its kernel
            return
