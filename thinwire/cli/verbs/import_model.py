from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from thinwire.cli.arguments import Parser
from thinwire.cli.console import RichProgress
from thinwire.cli.verb import Verb
from thinwire.data.config import STDLIB

if TYPE_CHECKING:
    from thinwire.workflows.import_model import ImportedModel

FORMATS = ("openai", "sparse-pretrain", "gpt2")


def _arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument("format", choices=FORMATS, help=f"Whose files: {', '.join(FORMATS)}.")
    parser.add_argument("directory", type=Path, help="Folder with the model's config and weights.")
    parser.add_argument("--out", type=Path, required=True, help="Directory to make.")
    parser.add_argument(
        "--tokenizer",
        type=Path | None,
        default=None,
        help="A tokenizer.json, or a folder with one or with encoder.json and vocab.bpe; else that of the model.",
    )
    parser.add_argument(
        "--text",
        default=STDLIB,
        help="Text that means and losses are taken on, as data.source names it: a folder, a file, stdlib, hf:NAME.",
    )


def _run(arguments: Namespace) -> "ImportedModel":
    from thinwire.workflows.import_model import import_model

    return import_model(
        arguments.format,
        arguments.directory,
        arguments.out,
        tokenizer=arguments.tokenizer,
        text=arguments.text,
        progress=RichProgress(),
    )


VERB = Verb(
    name="import",
    summary="Take in a model that somebody else trained; every verb works on it then.",
    usage="FORMAT DIRECTORY --out RUN [options]",
    example="thinwire import openai circuit-sparsity/models/csp_yolo2 --out runs/yolo2\n"
    "thinwire import gpt2 my-gpt2 --out runs/gpt2 --text my-texts",
    add_arguments=_arguments,
    run=_run,
)
