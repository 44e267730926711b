from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from thinwire.cli.arguments import Parser
from thinwire.cli.verb import Verb

if TYPE_CHECKING:
    from thinwire.workflows.import_model import ImportedCircuit


def _arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument("run", type=Path, help="Run directory of the model that the circuit was found in.")
    parser.add_argument("file", type=Path, help="viz_data.pt, circuit_mask.pt, masks.pt, or a .json of hook names.")
    parser.add_argument("--task", required=True, help="Task that the circuit does.")
    parser.add_argument(
        "--out", type=Path, required=True, help="Directory to make; `thinwire verify RUN OUT` judges it."
    )
    parser.add_argument(
        "--target_loss",
        type=float | None,
        default=None,
        help="Loss that it is said to reach, nats a prompt; without it, the paper's.",
    )


def _run(arguments: Namespace) -> "ImportedCircuit":
    from thinwire.workflows.import_model import import_circuit

    return import_circuit(arguments.run, arguments.file, arguments.task, arguments.out, arguments.target_loss)


VERB = Verb(
    name="import-circuit",
    summary="Take in a circuit that somebody else published, as a claim for `verify`.",
    usage="RUN FILE --task TASK --out DIRECTORY [options]",
    example="thinwire import-circuit runs/yolo2 viz_data.pt --task single_double_quote --out claims/quote",
    add_arguments=_arguments,
    run=_run,
)
