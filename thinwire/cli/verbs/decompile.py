from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from thinwire.cli.arguments import Parser, add_run
from thinwire.cli.console import RichProgress
from thinwire.cli.tables import fields, table
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.workflows.decompile import WrittenProgram


def _arguments(parser: Parser, argv: list[str]) -> None:
    add_run(parser)
    parser.add_argument("task", help="Task whose circuit becomes a program.")
    parser.add_argument(
        "--require",
        type=str | None,
        default=None,
        help="Take the circuit that was asked for this (sufficient, robust, faithful); by default the sufficient one.",
    )
    parser.add_argument("--circuit", type=Path | None, default=None, help="Take the circuit in this directory.")
    parser.add_argument(
        "--exact", action="store_true", help="Write the circuit unrolled with its weights, and simplify nothing."
    )
    parser.add_argument(
        "--least",
        type=float,
        default=0.98,
        help="Share of validation pairs to which a rewrite has to leave both of the circuit's answers.",
    )
    parser.add_argument(
        "--out", type=Path | None, default=None, help="File to write; without it, TASK.py in the working directory."
    )


def _run(arguments: Namespace) -> "WrittenProgram":
    from thinwire.workflows.decompile import decompile_run

    return decompile_run(
        arguments.run,
        arguments.task,
        circuit=arguments.circuit,
        require=arguments.require,
        exact=arguments.exact,
        least=arguments.least,
        out=arguments.out,
        device=arguments.device,
        progress=RichProgress(),
    )


def show(console: Console, result: "WrittenProgram") -> None:
    """What the program is of, how far it answers as the circuit, and which rewrites were kept."""
    facts = result.facts
    single = {
        "program": result.program,
        "lines": facts.lines,
        "circuit": facts.circuit,
        "edges": facts.n_edges,
        "logits differ at most, unrolled": facts.exact_error,
        "right on test prompts": facts.right,
        "the circuit": facts.circuit_right,
    }
    console.print(fields(single))
    found = {"validation": facts.validation, "test": facts.test, **facts.shifted}
    rows = [{"pairs": name, "n": x.n_pairs, "answers agree": x.pairs} for name, x in found.items()]
    console.print(table("as the circuit answers", rows))
    if facts.kept:
        kept = [{"rewrite": words, "kept": times} for words, times in facts.kept.items()]
        console.print(table(f"{facts.n_tried} programs tried", kept))


VERB = Verb(
    name="decompile",
    summary="Write a circuit as a short Python program that does what it does.",
    usage="RUN TASK [--require NAME] [--exact] [--out FILE]",
    example="thinwire decompile headline single_double_quote\n"
    "thinwire decompile headline single_double_quote --exact --out quote_exact.py",
    add_arguments=_arguments,
    run=_run,
    show=show,
)
