from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from thinwire.cli.arguments import Parser, add_run
from thinwire.cli.console import RichProgress
from thinwire.cli.verb import Verb


def _arguments(parser: Parser, argv: list[str]) -> None:
    add_run(parser)
    parser.add_argument(
        "--out", type=Path | None, default=None, help="File to write; without it, report.html in the run."
    )


def _run(arguments: Namespace) -> dict[str, Any]:
    from thinwire.workflows.report import report_run

    return report_run(arguments.run, arguments.out, device=arguments.device, progress=RichProgress())


VERB = Verb(
    name="report",
    summary="Write a run's circuits as one self-contained HTML file.",
    usage="RUN [--out FILE]",
    example="thinwire report runs/demo/sparse",
    add_arguments=_arguments,
    run=_run,
)
