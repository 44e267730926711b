"""Text that a run's model, or one of its circuits, writes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from thinwire.circuits.isolated import EdgeKind
from thinwire.errors import MissingFile, UserError
from thinwire.inference.generation import Stopped
from thinwire.inference.sampling import Sampling
from thinwire.progress import Progress, silent
from thinwire.runs.run import open_run
from thinwire.runs.selection import Where, choose
from thinwire.runs.trained import Trained
from thinwire.storage.files import is_sealed


@dataclass(frozen=True)
class GeneratedText:
    """What `thinwire generate` prints."""

    run: str
    circuit: str | None
    """Directory of the circuit that wrote it; None: the whole model did."""
    prompt: str
    text: str
    """What follows the prompt."""
    tokens: tuple[int, ...]
    """Of the text."""
    n_prompt_tokens: int
    stopped: Stopped
    """`max_tokens`; `context`: the model reads no more; `end_of_text`: it drew the end."""
    seconds: float
    """From the first token of the prompt to the last one of the text, the model being loaded and kernels compiled."""


def _unseen(_piece: str) -> None:
    return None


def generate(
    run_path: str | Path,
    prompt: str,
    sampling: Sampling | None = None,
    *,
    circuit: str | Path | None = None,
    where: Sequence[str] = (),
    edges: EdgeKind = "induced",
    on_text: Callable[[str], None] = _unseen,
    progress: Progress = silent,
) -> GeneratedText:
    """How a prompt goes on; `on_text` is given the prompt, then every piece of text as it is written.

    `circuit` is a circuit's directory or a task, of whose circuits the one that `runs.selection.choose` takes writes.
    Raises `UserError` as `Trained.generate` does, and for a task without a circuit.
    """
    sampling = sampling or Sampling()
    run = open_run(run_path, "cpu")
    path = None if circuit is None else circuit_of(run, circuit, where)
    if where and (path is None or path == Path(str(circuit))):
        raise UserError("--where chooses among a task's circuits; name the task with --circuit")
    if path is None and edges != "induced":
        raise UserError("--edges is of a circuit; name one with --circuit")
    writing = run.generate(prompt, **vars(sampling), circuit=path, edges=edges)
    with progress("first token, which compiles kernels", total=1, unit="token") as advance:
        writing.warm_up()
        advance()
    on_text(prompt)
    began = time.perf_counter()
    for piece in writing:
        on_text(piece)
    found, seconds = writing.result(), time.perf_counter() - began
    return GeneratedText(str(run_path), None if path is None else str(path), **vars(found), seconds=seconds)


def circuit_of(run: Trained, circuit: str | Path, where: Sequence[str] = ()) -> Path:
    """The directory that is named, or the circuit of the task that is. Raises `UserError` when there is none."""
    if is_sealed(Path(circuit), "circuit.json"):
        return Path(circuit)
    if not (found := run.circuits_of(str(circuit))):
        tasks = sorted({path.parent.parent.name for path in run.circuit_directories()})
        there = f"there are circuits of {', '.join(tasks)}" if tasks else "there are none"
        raise MissingFile(
            f"{run.home} holds no circuit of {circuit}; {there}; find one with: thinwire prune {run.home} TASK"
        )
    (chosen,) = choose(found, Where.of(where)).circuits.values()
    return chosen
