"""The sources that `data.source` names: which files each has, and their documents one after the other."""

import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from thinwire.data.config import HUGGING_FACE, INSTALLED, STDLIB, STDLIB_TESTS, DataConfig, Part
from thinwire.data.files import (
    Files,
    endings_there,
    folder_files,
    installed_files,
    installed_versions,
    single_file,
    stdlib_files,
    stdlib_test_files,
)
from thinwire.data.records import Texts, data_set_texts, file_texts, holds_records
from thinwire.errors import UserError

Kind = Literal["stdlib", "stdlib-tests", "installed", "path", "records", "hugging face"]


@dataclass(frozen=True)
class Source:
    """One source of a corpus. Files are looked for once, when they are first needed."""

    part: Part
    config: DataConfig

    @property
    def name(self) -> str:
        """As configured, without the share."""
        return self.part.source

    @cached_property
    def kind(self) -> Kind:
        """`records` where any file holds many documents."""
        if self.name in (STDLIB, STDLIB_TESTS):
            return self.name
        if self.name.startswith(INSTALLED):
            return "installed"
        if self.name.startswith(HUGGING_FACE):
            return "hugging face"
        return "records" if any(map(holds_records, self.files.paths.values())) else "path"

    @property
    def is_streamed(self) -> bool:
        """Whether documents are known only by reading them all: those of records and data sets."""
        return self.kind in ("records", "hugging face")

    @cached_property
    def files(self) -> Files:
        """Raises `UserError` if the source is not there or holds no files of the endings asked for."""
        if self.name == STDLIB:
            return stdlib_files()
        if self.name == STDLIB_TESTS:
            return stdlib_test_files()
        if self.name.startswith(INSTALLED):
            return installed_files(self.name.removeprefix(INSTALLED))
        if self.name.startswith(HUGGING_FACE):
            return Files({})
        return self._user_files()

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what the text is part of: Python, or the packages."""
        if self.name in (STDLIB, STDLIB_TESTS):
            return {"python": platform.python_version()}
        return installed_versions(self.name.removeprefix(INSTALLED)) if self.name.startswith(INSTALLED) else {}

    def state(self) -> Any:
        """What names a streamed source's content without reading it: size and time of every file."""
        if self.name.startswith(HUGGING_FACE):
            folder = Path(self.name.removeprefix(HUGGING_FACE)).expanduser()
            paths = {str(path): path for path in sorted(folder.glob("**/*"))}
        else:
            paths = self.files.paths
        return [[name, s.st_size, s.st_mtime_ns] for name, path in paths.items() if (s := path.stat())]

    @property
    def n_files(self) -> int:
        """Files that `documents` reads; a data set counts as one."""
        return 1 if self.kind == "hugging face" else len(self.files.paths)

    def documents(self, names: Iterable[str] | None = None, done: Callable[[], Any] = lambda: None) -> Texts:
        """(name, text) of every document, in the order of the files' names; or of the files `names` in their order.

        `done` is called after every file. Raises `UserError` for a file that cannot be read.
        """
        if self.kind == "hugging face":
            yield from data_set_texts(self.name, self.config)
            done()
            return
        for name in self.files.paths if names is None else names:
            yield from file_texts(name, self.files.paths[name], self.config.text_field)
            done()

    def _user_files(self) -> Files:
        path = Path(self.name).expanduser()
        if path.is_file():
            return single_file(path)
        if not path.is_dir():
            raise UserError(f"{self.name} is no file or folder{_hint(self.name)}")
        found = folder_files(path, self.config.endings)
        if found.paths:
            return found
        endings = ", ".join(map(repr, self.config.endings))
        there = endings_there(path)
        links = f" ({found.n_links} links out of it are not followed; name the folder they lead to)"
        raise UserError(
            f"{self.name} holds no text files ending in {endings}{links if found.n_links else ''}; "
            + (f"there are: {there}; name theirs, as in --data.suffixes .txt" if there else "change data.source")
        )


def _hint(name: str) -> str:
    """What else may have been meant by a path that is not there."""
    bare, equals, share = name.rpartition("=")
    if equals and share.replace(".", "", 1).isdigit():
        return f"; a share belongs into a list of sources: --data.source '[{bare}={share}, ...]'"
    return f"; point data.source at one, or at {STDLIB}"


def sources(config: DataConfig) -> tuple[Source, ...]:
    """The sources of `config`, in its order."""
    return tuple(Source(part, config) for part in config.parts)
