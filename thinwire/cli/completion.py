"""Scripts by which a shell completes `thinwire`: verbs, options, the names that they take, files. Written by shtab.

shtab reads a tree of argparse parsers; it is built here from what the verbs say of their arguments.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from thinwire.cli.arguments import new_parser
from thinwire.cli.verb import Verb
from thinwire.errors import UserError

SHELLS = ("bash", "zsh", "fish")
_MODELS = "_thinwire_model_dirs"
_TASKS = "_thinwire_task_files"
_MODEL_PLACES = ("run", "paths")
_TASK_PLACES = ("tasks", "task")


def completion_script(shell: str, verbs: Mapping[str, Verb[Any]]) -> str:
    """The script for one of `SHELLS`. Raises `UserError` for another one."""
    import shtab

    if shell not in SHELLS:
        raise UserError(f"no completion for {shell or 'a shell without a name'}; there is: {', '.join(SHELLS)}")
    preamble = _bash_functions() if shell == "bash" else ""
    return f"{shtab.complete(_tree(verbs), shell, preamble=preamble).rstrip()}\n"


def _tree(verbs: Mapping[str, Verb[Any]]) -> argparse.ArgumentParser:
    root = argparse.ArgumentParser("thinwire")
    root.add_argument("--version", action="store_true", help="Print the version.")
    root.add_argument("--print_completion", choices=SHELLS, help="Print a script that completes this command.")
    words = root.add_subparsers()
    groups: dict[str, Any] = {}
    for name, verb in verbs.items():
        group, is_two, last = name.rpartition(" ")
        if is_two and group not in groups:
            groups[group] = words.add_parser(group, help=f"Verbs about {group}.").add_subparsers()
        _fill((groups[group] if is_two else words).add_parser(last, help=verb.summary), name, verb)
    return root


def _fill(parser: argparse.ArgumentParser, name: str, verb: Verb[Any]) -> None:
    """Give `parser` the arguments of a verb, each with what may stand for its value."""
    own = new_parser(name, verb.usage, verb.summary, verb.example)
    verb.add_arguments(own, [])
    for action in own._actions:
        if action.help == argparse.SUPPRESS or action.dest == "help":
            continue
        takes_none = action.nargs == 0 or action.dest == "print_config"
        said: dict[str, Any] = (
            {"action": "store_true"} if takes_none else {"nargs": action.nargs, "choices": _choices(action)}
        )
        added = parser.add_argument(*(action.option_strings or [action.dest]), help=_help(action), **said)
        if not takes_none and (values := _values(action)):
            added.complete = values  # pyright: ignore[reportAttributeAccessIssue]  # shtab's own attribute


def _help(action: argparse.Action) -> str:
    """First sentence of what a verb's help says, in one line without what shells and argparse read in it."""
    sentence = " ".join((action.help or "").split()).partition(". ")[0]
    return sentence.translate(dict.fromkeys(map(ord, "`'\"$%[]:\\"), "")).rstrip(".")


def _choices(action: argparse.Action) -> list[str] | None:
    kind = getattr(action, "_typehint", None)
    if get_origin(kind) is Literal:
        return list(map(str, get_args(kind)))
    return ["true", "false"] if kind is bool else list(action.choices) if action.choices else None


def _values(action: argparse.Action) -> Any:
    """What shtab takes for an argument that is a model, a task or a file: by shell, or its name for any file."""
    import shtab

    kind = getattr(action, "_typehint", None)
    if action.dest in _MODEL_PLACES:
        name = _model()
        return {"bash": _MODELS, "zsh": f"{{compadd {name}; _files}}", "fish": f"{name} (__fish_complete_path)"}
    if action.dest in _TASK_PLACES:
        names = _tasks()
        zsh, fish = f"{{compadd {names}; _files}}", f"{names} (__fish_complete_suffix .jsonl)"
        return {"bash": _TASKS, "zsh": zsh, "fish": fish}
    is_file = action.dest == "config" or kind is Path or Path in get_args(kind)
    return shtab.FILE if is_file else None


def _model() -> str:
    from thinwire.workflows.pretrained import MODEL

    return MODEL


def _tasks() -> str:
    from thinwire.workflows.tasks import list_tasks

    return " ".join(task.name for task in list_tasks().tasks)


def _bash_functions() -> str:
    """Names first, then files, as bash's `compgen` gives them for the word that is being typed."""
    words = {_MODELS: _model(), _TASKS: _tasks()}
    body = 'compgen -W "{}" -- "$1"\n  compgen -f -- "$1"'
    return "\n".join(f"{function}() {{\n  {body.format(names)}\n}}" for function, names in words.items())
