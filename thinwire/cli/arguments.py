"""Command-line arguments and config files, parsed strictly: an unknown key is an error that names file and key.

An option is spelt like its key in a config file, with underscores; dashes in their place are understood too.
"""

import argparse
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter, Namespace, set_parsing_settings

from thinwire.errors import MissingFile, UserError
from thinwire.storage.files import read_file
from thinwire.storage.records import parse_yaml

set_parsing_settings(docstring_parse_attribute_docstrings=True)

Device = Literal["auto", "cpu", "cuda", "mps"]


class Parser(ArgumentParser):
    """Raises instead of exiting; knows the config dataclass whose fields are options, and short names of options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.config: type | None = None
        self.aliases: dict[str, str] = {}
        super().__init__(*args, **kwargs)

    def dump(self, namespace: Namespace, *args: Any, **kwargs: Any) -> str:
        """What `--print_config` prints: the fields of the config dataclass alone."""
        names = self.config.__dataclass_fields__ if self.config else ()
        return super().dump(Namespace({name: namespace[name] for name in names}), *args, **kwargs)


class _Formatter(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of a description, so that its examples stay examples."""


def new_parser(verb: str, usage: str, summary: str, example: str) -> Parser:
    """A parser of one verb, with an example in its help."""
    indented = "\n".join(f"  {line}" for line in example.splitlines())
    parser = Parser(
        prog=f"thinwire {verb}",
        usage=f"thinwire {verb} {usage}".rstrip(),
        description=f"{summary}\n\nexample:\n{indented}",
        formatter_class=_Formatter,
        exit_on_error=False,
        allow_abbrev=False,
        print_config="--print_config",
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON document on stdout, all else on stderr.")
    return parser


# --- arguments that several verbs take ------------------------------------------------------------------------------


def add_device(parser: Parser) -> None:
    parser.add_argument("--device", type=Device, default="auto", help="Where to compute; auto takes the fastest there.")


def add_run(parser: Parser) -> None:
    parser.add_argument(
        "run",
        type=Path,
        help="What `thinwire train` or `thinwire import` made: a run, one of its kept steps (RUN/steps/N), or one "
        "model of a demo (DEMO/sparse).",
    )
    add_device(parser)


def add_tasks(parser: Parser, words: str) -> None:
    """Tasks as positional words, or as `--task`, which may come more than once; `tasks_of` has both."""
    parser.add_argument("tasks", nargs="*", default=[], help=words)
    parser.add_argument(
        "--task", nargs="+", action="extend", default=[], help="The same as an option; may be given more than once."
    )


def add_where(parser: Parser) -> None:
    """`--where`, which circuits are meant; see `runs.selection.Where`."""
    parser.add_argument(
        "--where",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="Only circuits with these: task=NAME, seed=N, settings=HASH or any setting, such as target_loss=0.3. "
        "Several values of one name are alternatives.",
    )


def tasks_of(arguments: Namespace) -> list[str]:
    return list(dict.fromkeys([*arguments.tasks, *arguments.task]))


def add_resume(parser: Parser, remark: str = "") -> None:
    words = f"Continue what an interrupted call left in --out. {remark}".rstrip()
    parser.add_argument("--resume", action="store_true", help=words)


def add_dry_run(parser: Parser) -> None:
    parser.add_argument(
        "--dry_run", action="store_true", help="Tell what would be done and what it costs; start nothing."
    )


def add_config(parser: Parser, defaults: Any, helps: Mapping[str, str] | None = None) -> None:
    """`--config FILE`, `--print_config` and one option for each field of the dataclass instance `defaults`.

    `helps` are words for fields of which the dataclass cannot tell all, such as the names that one may take.
    """
    helps = helps or {}
    parser.add_argument(
        "--config", action="config", help="YAML file with any of the options below; later options win over it."
    )
    for name, words in helps.items():
        parser.add_argument(f"--{name}", type=type(getattr(defaults, name)), help=words)
    parser.add_class_arguments(type(defaults), None, skip=set(helps))
    parser.set_defaults(flat(asdict(defaults)))
    parser.config = type(defaults)


# --- parsing --------------------------------------------------------------------------------------------------------


def spelt(argv: Sequence[str]) -> list[str]:
    """The words of a command line with the options spelt like their keys: `--target-loss=1` as `--target_loss=1`."""

    def underscored(word: str) -> str:
        name, is_set, value = word.removeprefix("--").partition("=")
        return f"--{name.replace('-', '_')}{is_set}{value}" if word.startswith("--") and name else word

    return [underscored(word) for word in argv]


def parse(parser: Parser, argv: Sequence[str]) -> Namespace:
    """Parsed arguments; `settings` is the config dataclass of a parser that has one.

    Raises `UserError` on anything unknown or of the wrong type, naming the file it stands in, and on what the
    dataclass refuses.
    """
    argv = [_without_alias(parser, word) for word in spelt(argv)]
    _check_options(parser, argv)
    for option, path in _named_files(parser, argv):
        _check_keys(parser, option, path)
    try:
        arguments = parser.parse_args([word.translate(_STAND_INS) for word in argv])
    except ArgumentError as error:
        culprit = next((f"{path}: " for path in _culprits(parser, argv)), "")
        message = culprit + _one_line(error)
        raise UserError(f"{message}; {parser.prog} --help lists what there is") from None
    for key, value in list(arguments.items()):
        arguments[key] = _put_back(value)
    if parser.config is not None:
        arguments.settings = _build(parser.config, parser, arguments)
    return arguments


_STAND_INS = {0xDC00 + byte: 0x10F000 + byte for byte in range(0x80, 0x100)}
"""Bytes of file names that are no text in this locale: the parser reads words as YAML, which has no place for them, so
private characters stand in."""
_BYTES = {stand_in: byte for byte, stand_in in _STAND_INS.items()}


def _put_back(value: Any) -> Any:
    if isinstance(value, str | Path):
        return type(value)(str(value).translate(_BYTES))
    return type(value)(map(_put_back, value)) if isinstance(value, list | tuple) else value


def _without_alias(parser: Parser, word: str) -> str:
    name, is_set, value = word.partition("=")
    return f"{parser.aliases.get(name, name)}{is_set}{value}"


def _build(config: type, parser: Parser, arguments: Namespace) -> Any:
    """The dataclass `config` from parsed arguments. Its own `ValueError`s become `UserError`s."""
    try:
        values = parser.instantiate(arguments)
        return config(**{name: values[name] for name in config.__dataclass_fields__})
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from None


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping -> dotted keys."""
    pairs: dict[str, Any] = {}
    for key, value in values.items():
        pairs |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return pairs


def load_yaml(path: Path) -> Any:
    """Content of a YAML file. Raises `UserError` naming it when it cannot be read or parsed."""
    try:
        return parse_yaml(read_file(path), path)
    except MissingFile:
        raise MissingFile(f"{path} is missing; name an existing config file") from None


def _keys(parser: Parser) -> list[str]:
    """The dotted keys that a config file may hold."""
    return [key for key, _ in parser.get_defaults().items()]


def _groups(parser: Parser) -> set[str]:
    return {key.partition(".")[0] for key in _keys(parser) if "." in key}


def _check_options(parser: Parser, argv: Iterable[str]) -> None:
    """Raises `UserError` with the closest name for an option that there is not."""
    known = {*_keys(parser), *_groups(parser), "config", "print_config", "help"}
    for word in argv:
        name = word.removeprefix("--").partition("=")[0].removesuffix("+")
        if word.startswith("--") and name and name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"did you mean --{close[0]}?" if close else f"{parser.prog} --help lists what there is"
            raise UserError(f"unknown option {word.partition('=')[0]}; {hint}")


def _named_files(parser: Parser, argv: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """(dotted prefix, file) of every `--config FILE` and `--GROUP FILE` among the arguments."""
    groups = _groups(parser)
    for argument, following in zip(argv, [*argv, ""][1:], strict=True):
        name, has_value, value = argument.removeprefix("--").partition("=")
        if argument.startswith("--") and name in {"config", *groups}:
            value = value if has_value else following
            if name == "config" or Path(value).is_file():
                yield "" if name == "config" else f"{name}.", Path(value)


def _check_keys(parser: Parser, prefix: str, path: Path) -> None:
    values = load_yaml(path)
    if values is not None and not isinstance(values, dict):
        raise UserError(f"{path} holds no options; write lines such as `name: value`")
    known = [key.removeprefix(prefix) for key in _keys(parser) if key.startswith(prefix)]
    for key in flat(values or {}):
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"{parser.prog} --help lists the keys"
            raise UserError(f"{path}: unknown key {key}; {hint}")


def _culprits(parser: Parser, argv: Sequence[str]) -> Iterator[Path]:
    """The config files that are wrong by themselves."""
    for prefix, path in _named_files(parser, argv):
        try:
            parser.parse_args([f"--{prefix.removesuffix('.') or 'config'}={path}"])
        except ArgumentError as error:
            if "are required" not in str(error):
                yield path


def _one_line(error: ArgumentError) -> str:
    """jsonargparse's message without its line breaks and type names."""
    text = " ".join(str(error).split())
    text = re.sub(r'Parser key "([^"]+)":', r"\1:", text)
    text = re.sub(r"Expected an? (?:<class '(\w+)'>|typing\.)", r"expected \1", text)
    text = text.replace("expected tuple", "expected a list, written [ITEM,...]")
    return text.replace(". Got value:", ", got")
