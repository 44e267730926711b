"""What comes with the package, ready to look at: a trained model, its verified circuits, their page."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from thinwire.circuits.artefact import load_circuit
from thinwire.circuits.graph import Circuit
from thinwire.errors import UserError
from thinwire.progress import Progress, silent
from thinwire.runs.run import open_run
from thinwire.runs.shipped import copy_shipped, shipped_models
from thinwire.runs.verdicts import stored_verification
from thinwire.storage.files import is_sealed
from thinwire.verification.verdict import Level, PaperLevel
from thinwire.workflows.pruned import PrunedCircuit, prune_result
from thinwire.workflows.view import view

MODEL = "headline"


@dataclass(frozen=True)
class Pretrained:
    """What `thinwire demo --pretrained` prints."""

    model: str
    """Its directory, which every verb takes as a run."""
    view: str
    """The page of the circuits that stand best, one for each task."""
    heldout_loss: float
    """Nats per token."""
    density: float
    circuits: tuple[PrunedCircuit, ...]
    """All that come with it."""
    shown: tuple[str, ...]
    """Directories of those on the page."""
    seconds: float


def pretrained(out: str | Path, *, device: str = "auto", progress: Progress = silent) -> Pretrained:
    """Copy the shipped model and its circuits to `out` and write their page, view.html: of each task the circuit that
    stands best.

    Raises `UserError` where the version has no model, or `out` holds something else.
    """
    began, out = time.monotonic(), Path(out)
    if MODEL not in shipped_models():
        raise UserError("this version comes without a model; train one with: thinwire demo")
    if not is_sealed(out / MODEL):
        copy_shipped(MODEL, out / MODEL)
    run = open_run(out / MODEL, device)
    circuits = {path: load_circuit(path).circuit for path in run.circuit_directories()}
    shown = best_standing(circuits)
    page = view(shown, out / "view.html", device=device, progress=progress)
    return Pretrained(
        model=str(out / MODEL),
        view=page.view,
        heldout_loss=run.heldout_loss(),
        density=run.density,
        circuits=prune_result(str(out / MODEL), circuits, {}, {}).circuits,
        shown=tuple(map(str, shown)),
        seconds=time.monotonic() - began,
    )


def best_standing(circuits: Mapping[Path, Circuit]) -> list[Path]:
    """Of each task the circuit of the best verdict, by the strict one first; of equal ones that of the fewest edges.

    What stands best comes first.
    """
    best: dict[str, Path] = {}
    for path in sorted(circuits, key=lambda path: (*_standing(path), circuits[path].n_edges)):
        best.setdefault(circuits[path].task, path)
    return list(best.values())


def _standing(path: Path) -> tuple[int, int]:
    """Places of both verdicts, best first; behind all others where a circuit was not verified."""
    found, levels, papers = stored_verification(path), get_args(Level), get_args(PaperLevel)
    if found is None:
        return len(levels), len(papers)
    return levels.index(found.judged.verdict), papers.index(found.judged.paper_verdict)
