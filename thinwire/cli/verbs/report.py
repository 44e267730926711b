from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from thinwire.cli.arguments import Parser, add_run, add_where
from thinwire.cli.console import RichProgress
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.workflows.report import Reported


def _arguments(parser: Parser, argv: list[str]) -> None:
    add_run(parser)
    add_where(parser)
    parser.add_argument(
        "--out", type=Path | None, default=None, help="File to write; without it, report.html in the run."
    )


def _run(arguments: Namespace) -> "Reported":
    from thinwire.workflows.report import report_run

    return report_run(
        arguments.run, arguments.out, where=arguments.where, device=arguments.device, progress=RichProgress()
    )


VERB = Verb(
    name="report",
    summary="Write a run's circuits as one self-contained HTML file.",
    usage="RUN [--where NAME=VALUE ...] [--out FILE]",
    example="thinwire report runs/demo/sparse\nthinwire report runs/demo/sparse --where target_loss=0.3",
    add_arguments=_arguments,
    run=_run,
)
