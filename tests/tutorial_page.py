"""The commands of docs/tutorial.md with what they print. After a change to either: python tests/tutorial_page.py"""

import contextlib
import io
import re
import shlex
from pathlib import Path

from thinwire.cli.main import main

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"
BLOCK = re.compile(r"(?<=```console\n)\$ (?P<command>thinwire .*)\n(?P<printed>(?s:.*?))(?=```)")
PLACE = re.compile(r"(?<=\s)/\S+$", re.MULTILINE)
"""Where a circuit lies, which is another place for every reader."""
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def printed(command: str) -> str:
    """What a command prints where stdout is no terminal, places shortened, without spaces at the ends of lines."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(shlex.split(command)[1:])
    assert code == 0, f"{command} ended with {code}"
    lines = "\n".join(line.rstrip() for line in out.getvalue().splitlines())
    return f"{PLACE.sub('~/.cache/thinwire/...', lines)}\n"


def alike(found: str, stated: str) -> bool:
    """The same words, and the same numbers within 2 % or two units of the last place: machines round differently."""
    places = zip(NUMBER.findall(found), NUMBER.findall(stated), strict=False)
    return _words(found) == _words(stated) and all(_near(*pair) for pair in places)


def _words(text: str) -> str:
    return re.sub(r"[\s━─]+", " ", NUMBER.sub("#", text))


def _near(found: str, stated: str) -> bool:
    last = 10.0 ** -len(stated.partition(".")[2]) if "." in stated else 0.0
    return abs(float(found) - float(stated)) <= max(2 * last, 0.02 * abs(float(stated)))


def blocks() -> list[tuple[str, str]]:
    """(command, what the page says that it prints), in the order of the page."""
    return [(m["command"], m["printed"]) for m in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    page = BLOCK.sub(lambda m: f"$ {m['command']}\n{printed(m['command'])}", PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8")
