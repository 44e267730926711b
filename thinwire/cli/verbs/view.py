import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from thinwire.cli.arguments import Parser, add_device, add_where
from thinwire.cli.console import RichProgress, announce
from thinwire.cli.verb import Verb
from thinwire.errors import UserError

if TYPE_CHECKING:
    from thinwire.workflows.view import Viewed


@dataclass(frozen=True)
class Served:
    """A live page that has been ended."""

    served: str
    """The address that it had."""


def _arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument("paths", type=Path, nargs="+", help="A circuit's directory, a run with circuits, or a demo.")
    add_where(parser)
    parser.add_argument(
        "--out", type=Path | None, default=None, help="File to write; without it, view.html in the first path."
    )
    parser.add_argument(
        "--graph", type=Path | None, default=None, help="Also write the first circuit as Neuronpedia's graph JSON."
    )
    parser.add_argument(
        "--examples",
        type=Path | None,
        default=None,
        help="Also write where the first circuit's nodes are most active in held-out text, in SAEDashboard's JSON.",
    )
    parser.add_argument(
        "--live", action="store_true", help="Serve the page on this machine alone: type prompts, take parts out."
    )
    parser.add_argument("--port", type=int, default=0, help="Port of the live page; 0 takes a free one.")
    add_device(parser)


def _run(arguments: Namespace) -> "Viewed | Served":
    from thinwire.workflows.view import view

    if arguments.live:
        return _serve(arguments)
    return view(
        arguments.paths,
        arguments.out,
        graph=arguments.graph,
        examples=arguments.examples,
        where=arguments.where,
        device=arguments.device,
        progress=RichProgress(),
    )


def _serve(arguments: Namespace) -> Served:
    """Serve until interrupted, which is how a live page ends well."""
    from thinwire.workflows.live import live_server

    if arguments.out or arguments.graph or arguments.examples:
        raise UserError("--live writes no files; drop --out, --graph and --examples")
    server = live_server(
        arguments.paths, port=arguments.port, where=arguments.where, device=arguments.device, progress=RichProgress()
    )
    with server:
        announce(f"{server.url}\nOpen this address in a browser on this machine; Ctrl-C ends it.")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
        return Served(server.url)


VERB = Verb(
    name="view",
    summary="Write circuits as one interactive page, or serve it live.",
    usage="CIRCUIT|RUN|DEMO [...] [--where NAME=VALUE ...] [--out FILE] [--live]",
    example="thinwire view runs/demo\nthinwire view runs/demo/sparse --where task=else_elif --live",
    add_arguments=_arguments,
    run=_run,
)
