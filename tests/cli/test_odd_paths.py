"""Paths need not be text in the locale that thinwire runs under."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from thinwire.cli.arguments import new_parser, parse
from thinwire.storage.files import to_json, unicode_text


def odd(name: bytes) -> str:
    """The name of a file as Python sees it where the locale has no such characters."""
    return name.decode("ascii", "surrogateescape")


def test_words_come_through_the_parser_as_they_are() -> None:
    parser = new_parser("x", "", "", "")
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", type=str, default="")
    parser.add_argument("--more", type=str, nargs="*", default=[])
    name = odd("é\udcff".encode("utf-8", "surrogateescape"))
    found = parse(parser, [f"runs/{name}", f"--name={name}", "--more", name, "plain"])
    assert (found.run, found.name, found.more) == (Path(f"runs/{name}"), name, [name, "plain"])


def test_what_is_written_of_them_is_unicode() -> None:
    assert unicode_text(odd("é".encode())) == "é"
    assert to_json({"path": odd("é\udcff".encode("utf-8", "surrogateescape"))}) == '{\n "path": "é\ufffd"\n}\n'


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_run_in_such_a_folder_is_opened(locale: str, tiny_path: Path, tmp_path: Path) -> None:
    os.symlink(tiny_path, os.fsencode(tmp_path) + "/caf\u00e9-".encode() + b"\xff")
    argv: list[str | bytes] = [sys.executable, "-m", "thinwire", "eval", "--json"]
    argv.append(os.fsencode(tmp_path) + "/caf\u00e9-".encode() + b"\xff")
    env = os.environ | {"LC_ALL": locale, "PYTHONUTF8": "0"}
    done = subprocess.run(argv, capture_output=True, env=env, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert "café-\ufffd".encode() in done.stdout.replace(b"caf\\xe9", "café".encode())
