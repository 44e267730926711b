"""What comes with the package, ready to look at: a trained model, its verified circuits, their page."""

import time
from dataclasses import dataclass
from pathlib import Path

from thinwire.circuits.artefact import load_circuit
from thinwire.errors import UserError
from thinwire.progress import Progress, silent
from thinwire.runs.run import open_run
from thinwire.runs.shipped import copy_shipped, shipped_models
from thinwire.storage.files import is_sealed
from thinwire.workflows.pruned import PrunedCircuit, prune_result
from thinwire.workflows.view import view

MODEL = "headline"


@dataclass(frozen=True)
class Pretrained:
    """What `thinwire demo --pretrained` prints."""

    model: str
    """Its directory, which every verb takes as a run."""
    view: str
    """The page of its circuits."""
    heldout_loss: float
    """Nats per token."""
    density: float
    circuits: tuple[PrunedCircuit, ...]
    seconds: float


def pretrained(out: str | Path, *, device: str = "auto", progress: Progress = silent) -> Pretrained:
    """Copy the shipped model and its circuits to `out` and write their page, view.html.

    Raises `UserError` where the version has no model, or `out` holds something else.
    """
    began, out = time.monotonic(), Path(out)
    if MODEL not in shipped_models():
        raise UserError("this version comes without a model; train one with: thinwire demo")
    if not is_sealed(out / MODEL):
        copy_shipped(MODEL, out / MODEL)
    run = open_run(out / MODEL, device)
    circuits = {path: load_circuit(path).circuit for path in run.circuit_directories()}
    page = view([out / MODEL], out / "view.html", device=device, progress=progress)
    return Pretrained(
        model=str(out / MODEL),
        view=page.view,
        heldout_loss=run.heldout_loss(),
        density=run.density,
        circuits=prune_result(str(out / MODEL), circuits, {}, {}).circuits,
        seconds=time.monotonic() - began,
    )
