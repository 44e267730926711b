import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser, add_config, add_where
from thinwire.cli.console import RichProgress, announce, duration
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.workflows.generate import GeneratedText


def _arguments(parser: Parser, argv: list[str]) -> None:
    from thinwire.inference.sampling import Sampling

    parser.add_argument("run", type=Path, help="A run, one of its kept steps (RUN/steps/N), or an imported model.")
    parser.add_argument("prompt", type=str, help='Text to go on from, such as "def f(". Nothing is put before it.')
    parser.add_argument(
        "--circuit",
        type=str | None,
        default=None,
        help="Let a circuit alone decide every token: its directory, or a task of which the run holds circuits.",
    )
    parser.add_argument(
        "--edges",
        type=Literal["induced", "minimal"],
        default="induced",
        help="All weights between the circuit's nodes, or those that its edge sweep left.",
    )
    add_where(parser)
    add_config(parser, Sampling())


def _run(arguments: Namespace) -> "GeneratedText":
    from thinwire.workflows.generate import generate

    return generate(
        arguments.run,
        arguments.prompt,
        arguments.settings,
        circuit=arguments.circuit,
        where=arguments.where,
        edges=arguments.edges,
        on_text=_write,
        progress=RichProgress(),
    )


def _write(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()


def show(console: Console, result: "GeneratedText") -> None:
    """The text stands there already: its last line is ended, and what it took is said on stderr."""
    _write("\n")
    by = f"the circuit in {result.circuit}" if result.circuit else result.run
    n_tokens = len(result.tokens)
    count, rate = f"{n_tokens} token{'s' * (n_tokens != 1)}", f"{n_tokens / result.seconds:.0f} tokens/s"
    ended = {
        "max_tokens": "as many as were asked for",
        "context": "the model reads no more",
        "end_of_text": "the end of the text was drawn",
    }[result.stopped]
    announce(f"{count} by {by} in {duration(result.seconds)}, {rate}; {ended}")


VERB = Verb(
    name="generate",
    summary="Let a model, or one of its circuits alone, go on with a text, token by token.",
    usage="RUN PROMPT [--max_tokens N] [--temperature T] [--top_p P] [--seed N] [--circuit TASK|DIRECTORY]",
    example="thinwire generate headline import\n"
    "thinwire generate runs/demo/sparse def --temperature 0.7 --top_p 0.9 --max_tokens 40\n"
    "thinwire generate headline 'print(\"empty' --circuit single_double_quote --temperature 0 --max_tokens 1",
    add_arguments=_arguments,
    run=_run,
    show=show,
)
