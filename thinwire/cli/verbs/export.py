from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from thinwire.cli.arguments import Parser
from thinwire.cli.console import RichProgress
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.workflows.export_model import Exported

FORMATS = ("hf", "openai", "thinwire")


def _arguments(parser: Parser, argv: list[str]) -> None:
    words = (
        "For whom: hf (Hugging Face transformers), openai (the released code and its viewer) or thinwire (this "
        "package, in a few MB: nonzero weights alone, in half precision)."
    )
    parser.add_argument("format", choices=FORMATS, help=words)
    parser.add_argument("run", type=Path, help="Run directory of the model.")
    parser.add_argument("--out", type=Path, required=True, help="Directory to make.")


def _run(arguments: Namespace) -> "Exported":
    from thinwire.workflows.export_model import export_model

    return export_model(arguments.format, arguments.run, arguments.out, RichProgress())


VERB = Verb(
    name="export",
    summary="Write a model in the files of other programs, or small, to pass it on.",
    usage="FORMAT RUN --out DIRECTORY",
    example="thinwire export hf runs/demo/sparse --out exported\n"
    "thinwire export openai runs/demo/sparse --out released",
    add_arguments=_arguments,
    run=_run,
)
