from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from thinwire.cli.arguments import Parser, add_run
from thinwire.cli.console import RichProgress
from thinwire.cli.verb import Verb


def _arguments(parser: Parser, argv: list[str]) -> None:
    add_run(parser)
    parser.add_argument(
        "--circuits",
        type=Path,
        nargs="*",
        default=None,
        help="Measure stored circuits again instead: these directories, or without any all of the run.",
    )


def _run(arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.evaluate import evaluate, evaluate_circuits

    if arguments.circuits is not None:
        return evaluate_circuits(arguments.run, arguments.circuits, device=arguments.device, progress=RichProgress())
    return evaluate(arguments.run, device=arguments.device, progress=RichProgress())


VERB = Verb(
    name="eval",
    summary="Measure a run: held-out loss, density of each matrix, share of nonzero activations at each site.",
    usage="RUN [--circuits [CIRCUIT ...]] [options]",
    example="thinwire eval runs/demo/sparse\nthinwire eval runs/demo/sparse --circuits",
    add_arguments=_arguments,
    run=_run,
)
