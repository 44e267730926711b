"""The command `thinwire`: picks the verb, runs it, shows its result, turns errors into exit codes.

0: done (a target that was not met is a result, too); 1: `train` made a model that is no better than guessing by
frequency; 2: bad input, one line on stderr, or a result that says it: a task that `tasks check` refused, something that
`doctor` found missing; 130: interrupted.
"""

import codecs
import contextlib
import difflib
import errno
import shlex
import sys
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path

from thinwire.cli.arguments import new_parser, parse, spelt
from thinwire.cli.completion import completion_script
from thinwire.cli.registry import VERBS
from thinwire.cli.tables import new_console, show_json, show_verbs
from thinwire.errors import UserError
from thinwire.storage.files import unicode_text
from thinwire.version import __version__

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
MAX_LINE = 900
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR)


def main(argv: list[str] | None = None) -> int:
    """Runs one command line and returns its exit code; `--help` and `--print_config` leave by SystemExit(0)."""
    argv = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors in ("strict", "surrogateescape"):
        # Names of files need not be text, and JSON is UTF-8 also where the locale knows ASCII alone.
        sys.stdout.reconfigure(encoding=_wider(sys.stdout.encoding), errors="backslashreplace")
    try:
        return _run(argv)
    except UserError as error:
        return _fail(str(error))
    except OSError as error:
        message = _explain(error, argv)
        if message is None:
            raise
        return _fail(message)
    except KeyboardInterrupt:
        print(f"thinwire: interrupted; {_how_to_continue(argv)}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _wider(encoding: str) -> str:
    return "utf-8" if codecs.lookup(encoding).name == "ascii" else encoding


def _run(argv: list[str]) -> int:
    if argv[:1] == ["help"]:
        argv = [*argv[1:], "--help"]
    if (group := _asked_for_help(argv)) is not None:
        show_verbs({name: verb.summary for name, verb in VERBS.items() if name.startswith(group)})
        return 0
    if argv == ["--version"]:
        print(f"thinwire {__version__}")
        return 0
    if spelt(argv[:1]) == ["--print_completion"]:
        print(completion_script("".join(argv[1:2]), VERBS), end="")
        return 0
    name, rest = _split(argv)
    verb, words = VERBS[name], spelt(rest)
    parser = new_parser(name, verb.usage, verb.summary, verb.example)
    verb.add_arguments(parser, words)
    arguments = parse(parser, words)
    with contextlib.redirect_stdout(sys.stderr) if arguments.json else contextlib.nullcontext():
        result = verb.run(arguments)
    if arguments.json:
        show_json(result)
    else:
        verb.show(new_console(), result)
    return verb.exit_code(result)


def _asked_for_help(argv: list[str]) -> str | None:
    """How the names of the verbs begin that help is asked for: `` for all, `tasks `; None where it is one or none."""
    if not argv or argv[0] in ("-h", "--help"):
        return ""
    group = f"{argv[0]} "
    return group if argv[1:] in (["-h"], ["--help"]) and any(name.startswith(group) for name in VERBS) else None


def _split(argv: list[str]) -> tuple[str, list[str]]:
    """(verb, its arguments); a verb has one word or, as `tasks list`, two."""
    two_words = [name for name in VERBS if name.startswith(f"{argv[0]} ")]
    if argv[0] in VERBS:
        return argv[0], argv[1:]
    if two_words and " ".join(argv[:2]) in two_words:
        return " ".join(argv[:2]), argv[2:]
    if two_words:
        raise UserError(f"{argv[0]} needs one of: {', '.join(name.split()[1] for name in two_words)}")
    first_words = list(dict.fromkeys(name.split()[0] for name in VERBS))
    close = difflib.get_close_matches(argv[0], first_words, n=1)
    raise UserError(
        f"unknown verb {argv[0]}; " + (f"did you mean {close[0]}?" if close else f"{', '.join(first_words)}")
    )


def _explain(error: OSError, argv: list[str]) -> str | None:
    """One line for what the machine refuses; None for errors that are ours."""
    if error.errno in _DISK_FULL:
        return f"disk full: free space in {_directory(error, argv)}, then {_how_to_continue(argv)}"
    if error.errno in _REFUSED:
        return f"{error.strerror}: {error.filename}; choose another directory or change its permissions"
    return None


def _directory(error: OSError, argv: list[str]) -> Path:
    """Where it happened: beside the file that the error names, else what the command was to write."""
    if error.filename:
        return Path(error.filename).parent.resolve()
    named = [following for argument, following in pairwise(argv) if argument == "--out"]
    named += [argument.removeprefix("--out=") for argument in argv if argument.startswith("--out=")]
    return Path(named[-1] if named else "").resolve()


def _how_to_continue(argv: list[str]) -> str:
    """The command that goes on after an interruption; `--resume` for the verbs that have it."""
    resumes = argv[0] in VERBS and VERBS[argv[0]].resumes
    again = [*argv, "--resume"] if resumes and "--resume" not in argv else argv
    return f"continue with: thinwire {shlex.join(again)}"


def _fail(message: str) -> int:
    """One line, of which the middle is left out where something that a file holds made it long."""
    line = unicode_text(" ".join(message.split()))
    if len(line) > MAX_LINE:
        line = f"{line[: MAX_LINE // 2]} [...] {line[-MAX_LINE // 3 :]}"
    print(f"thinwire: error: {line}", file=sys.stderr)
    return EXIT_ERROR
