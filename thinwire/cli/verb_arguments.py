"""What each verb of the command line takes, as its own help tells it."""

from pathlib import Path
from typing import Literal

from thinwire.cli.arguments import Parser, add_alias, add_config, add_device, run_defaults


def no_arguments(parser: Parser, argv: list[str]) -> None:
    return None


def run_arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument("run", type=Path, help="Run directory, as `thinwire train --out` made it.")
    add_device(parser)


def eval_arguments(parser: Parser, argv: list[str]) -> None:
    run_arguments(parser, argv)
    parser.add_argument(
        "--circuits",
        type=Path,
        nargs="*",
        default=None,
        help="Measure stored circuits again instead: these directories, or without any all of the run.",
    )


def demo_arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="Directory for the two runs and the report."
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of everything that is drawn at random.")
    _add_resume(parser, always=True)
    add_device(parser)


def train_arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument("--out", type=Path | None, default=None, help="Run directory to make (or to continue).")
    _add_resume(parser)
    parser.add_argument(
        "--watch",
        type=Literal["tensorboard", "wandb"],
        nargs="+",
        default=[],
        help="Who else is told of every step, beside metrics.jsonl.",
    )
    add_device(parser)
    add_config(parser, run_defaults(argv))
    add_alias(parser, "--train.seed", "--seed")


def _add_resume(parser: Parser, always: bool = False) -> None:
    by_itself = " This verb does so by itself; the option is for scripts that give it everywhere." if always else ""
    words = f"Continue what an interrupted call left in --out.{by_itself}"
    parser.add_argument("--resume", action="store_true", help=words)
    parser.add_argument(
        "--dry-run", action="store_true", help="Tell what would be done and what it costs; start nothing."
    )


def show_arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument("task", type=str, help="Name of a task (`thinwire tasks list`), or a .jsonl file of own pairs.")
    parser.add_argument("--pairs", type=int, default=3, help="Number of prompt pairs to show.")


def check_arguments(parser: Parser, argv: list[str]) -> None:
    run_arguments(parser, argv)
    parser.add_argument(
        "--task",
        type=str,
        nargs="+",
        default=[],
        help="Names of tasks or .jsonl files of own pairs; without it, all built-in tasks.",
    )


def prune_arguments(parser: Parser, argv: list[str]) -> None:
    from thinwire.pruning.config import PruneConfig

    run_arguments(parser, argv)
    parser.add_argument("tasks", nargs="*", help="Names of tasks, or .jsonl files of own pairs; `all` takes every one.")
    parser.add_argument("--task", type=str, nargs="+", default=[], help="The same as an option: --task all.")
    parser.add_argument("--resume", action="store_true", help="Keep the circuits that are finished, make the others.")
    parser.add_argument("--seeds", type=int, default=1, help="Circuits for each task, with the seeds from --seed on.")
    parser.add_argument("--workers", type=int, default=1, help="Processes that prune tasks beside each other.")
    parser.add_argument("--search", type=int, default=0, help="Trials of a search for the settings of each task first.")
    parser.add_argument(
        "--together",
        action="store_true",
        help="Learn the gates of all seeds in one batch. A GPU does so by itself; CPU kernels gain nothing by it.",
    )
    add_config(parser, PruneConfig())


def baselines_arguments(parser: Parser, argv: list[str]) -> None:
    run_arguments(parser, argv)
    parser.add_argument("tasks", nargs="*", help="Tasks with a solved circuit in the run; without any, all of these.")
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="Sweep the baselines too: are gates needed before a sweep? Takes minutes for each task.",
    )


def verify_arguments(parser: Parser, argv: list[str]) -> None:
    run_arguments(parser, argv)
    parser.add_argument(
        "circuits", type=Path, nargs="*", help="Directories with a circuit.json; without any, all circuits of the run."
    )
    parser.add_argument(
        "--budget",
        type=Literal["fast", "full"],
        default="fast",
        help="How many samples each test takes; only `full` prunes again, for controls and backups.",
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of everything that is drawn at random.")


def report_arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument("run", type=Path, help="Run directory with circuits.")
    parser.add_argument(
        "--out", type=Path | None, default=None, help="File to write; without it, report.html in the run."
    )
    add_device(parser)


def view_arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument("paths", type=Path, nargs="+", help="A circuit's directory, a run with circuits, or a demo.")
    parser.add_argument(
        "--out", type=Path | None, default=None, help="File to write; without it, view.html in the first path."
    )
    parser.add_argument(
        "--graph", type=Path | None, default=None, help="Also write the first circuit as Neuronpedia's graph JSON."
    )
    parser.add_argument(
        "--live", action="store_true", help="Serve the page on this machine alone: type prompts, take parts out."
    )
    parser.add_argument("--port", type=int, default=0, help="Port of the live page; 0 takes a free one.")
    add_device(parser)


def plot_arguments(parser: Parser, argv: list[str]) -> None:
    parser.add_argument("run", type=Path, help="Run directory.")
    parser.add_argument(
        "--out", type=Path | None, default=None, help="Directory to write into; without it, figures in the run."
    )
    parser.add_argument("--formats", nargs="+", default=["svg"], help="Kinds of files: svg, pdf, png.")
    add_device(parser)
