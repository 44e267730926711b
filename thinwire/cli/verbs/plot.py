from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from thinwire.cli.arguments import Parser, add_run, add_where
from thinwire.cli.console import RichProgress
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.workflows.plot import Figures


def _arguments(parser: Parser, argv: list[str]) -> None:
    add_run(parser)
    parser.add_argument(
        "--out", type=Path | None, default=None, help="Directory to write into; without it, figures in the run."
    )
    parser.add_argument("--formats", nargs="+", default=["svg"], help="Kinds of files: svg, pdf, png.")
    add_where(parser)
    parser.add_argument(
        "--over_training",
        action="store_true",
        help="Draw how circuits came about instead: at the steps that --train.keep_every_steps kept, with the circuits "
        "that prune --step found in them.",
    )


def _run(arguments: Namespace) -> "Figures":
    from thinwire.workflows.plot import plot_run

    return plot_run(
        arguments.run,
        arguments.out,
        formats=arguments.formats,
        where=arguments.where,
        over_training=arguments.over_training,
        device=arguments.device,
        progress=RichProgress(),
    )


VERB = Verb(
    name="plot",
    summary="Draw a run's training curves, losses against size and circuits with matplotlib.",
    usage="RUN [--where NAME=VALUE ...] [--out DIR] [--formats svg pdf png] [--over_training]",
    example="thinwire plot runs/demo/sparse --formats pdf\n"
    "thinwire plot runs/demo/sparse --where task=else_elif --over_training",
    add_arguments=_arguments,
    run=_run,
)
