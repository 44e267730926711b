"""Command-line arguments and config files, parsed strictly: an unknown key is an error that names file and key."""

import argparse
import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter, Namespace, set_parsing_settings

from thinwire.errors import MissingFile, UserError
from thinwire.storage.files import is_sealed, read_sealed
from thinwire.training.config import RunConfig
from thinwire.training.config_file import from_yaml
from thinwire.training.recipes import recipe

set_parsing_settings(docstring_parse_attribute_docstrings=True)

Device = Literal["auto", "cpu", "cuda", "mps"]


class Parser(ArgumentParser):
    """Raises instead of exiting, and prints only the fields of a config dataclass for `--print_config`."""

    config_fields: tuple[str, ...] = ()

    def dump(self, namespace: Namespace, *args: Any, **kwargs: Any) -> str:
        wanted = Namespace({name: namespace[name] for name in self.config_fields})
        return super().dump(wanted, *args, **kwargs)


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


def add_device(parser: Parser) -> None:
    parser.add_argument("--device", type=Device, default="auto", help="Where to compute; auto takes the fastest there.")


def add_config(parser: Parser, defaults: Any) -> None:
    """`--config FILE`, `--print_config` and one option for each field of the dataclass instance `defaults`."""
    parser.add_argument(
        "--config", action="config", help="YAML file with any of the options below; later options win over it."
    )
    parser.add_class_arguments(type(defaults), None)
    parser.set_defaults(flat(asdict(defaults)))
    parser.config_fields = tuple(asdict(defaults))


def add_alias(parser: Parser, option: str, alias: str) -> None:
    """Let `alias` stand for an option that a dataclass gave."""
    action = parser._option_string_actions[option]
    action.option_strings = [*action.option_strings, alias]
    parser._option_string_actions[alias] = action


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping -> dotted keys."""
    pairs: dict[str, Any] = {}
    for key, value in values.items():
        pairs |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return pairs


def parse(parser: Parser, argv: list[str]) -> Namespace:
    """Parsed arguments. Raises `UserError` on anything unknown or of the wrong type, naming the file it stands in."""
    for option, path in _named_files(parser, argv):
        _check_keys(parser, option, path)
    try:
        return parser.parse_args(argv)
    except ArgumentError as error:
        culprit = next((f"{path}: " for path in _culprits(parser, argv)), "")
        message = culprit + _one_line(error)
        raise UserError(f"{message}; {parser.prog} --help lists what there is") from None


def build(config: type, parser: Parser, arguments: Namespace) -> Any:
    """The dataclass `config` from parsed arguments. Its own `ValueError`s become `UserError`s."""
    try:
        values = parser.instantiate(arguments)
        return config(**{name: values[name] for name in config.__dataclass_fields__})
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from None


def run_defaults(argv: list[str]) -> RunConfig:
    """What `train` starts from: with `--resume` the stored config of the run in `--out`, else a recipe.

    The recipe is the one that `--recipe` or a config file names last; without any it is `demo`.
    """
    look = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    look.add_argument("--recipe", dest="named", action="append", default=[])
    look.add_argument("--config", dest="named", action="append", type=Path)
    look.add_argument("--out", type=Path)
    look.add_argument("--resume", action="store_true")
    try:
        known, _ = look.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(_one_line(error)) from None
    if known.resume and known.out and (stored := stored_config(known.out)):
        return stored
    names = [_recipe_of(item) if isinstance(item, Path) else item for item in known.named]
    return recipe(next((name for name in reversed(names) if name), "demo"))


def stored_config(run: Path) -> RunConfig | None:
    """The config that a run directory was made with; None if there is no such run."""
    if not is_sealed(run, "config.yaml"):
        return None
    return from_yaml(read_sealed(run, "config.yaml").decode(), run / "config.yaml")


def _recipe_of(path: Path) -> str | None:
    values = load_yaml(path)
    return values.get("recipe") if isinstance(values, dict) else None


def load_yaml(path: Path) -> Any:
    """Content of a YAML file. Raises `UserError` naming it when it cannot be read or parsed."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFile(f"{path} is missing; name an existing config file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} is not readable as YAML: {' '.join(str(error).split())}") from None


def _named_files(parser: Parser, argv: list[str]) -> Iterator[tuple[str, Path]]:
    """(dotted prefix, file) of every `--config FILE` and `--GROUP FILE` among the arguments."""
    groups = {key.partition(".")[0] for key in _keys(parser) if "." in key}
    for argument, following in zip(argv, [*argv, ""][1:], strict=True):
        name, has_value, value = argument.removeprefix("--").partition("=")
        if argument.startswith("--") and name in {"config", *groups}:
            value = value if has_value else following
            if name == "config" or Path(value).is_file():
                yield "" if name == "config" else f"{name}.", Path(value)


def _keys(parser: Parser) -> list[str]:
    """The dotted keys that a config file may hold."""
    return [key for key, _ in parser.get_defaults().items()]


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


def _culprits(parser: Parser, argv: list[str]) -> Iterator[Path]:
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
    return text.replace(". Got value:", ", got")
