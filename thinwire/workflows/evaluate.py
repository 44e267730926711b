"""Held-out loss, densities and activation shares of a run's model; its stored circuits, measured again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from thinwire.circuits.artefact import evaluate_circuit
from thinwire.circuits.graph import Edge, Score
from thinwire.circuits.solved import standing
from thinwire.model.structure import count_parameters
from thinwire.progress import Progress, silent
from thinwire.runs.run import Run, open_run
from thinwire.runs.selection import circuits_of
from thinwire.runs.settings import settings_name
from thinwire.runs.stored import check_stated_loss, open_circuit
from thinwire.runs.trained import FINAL, FINAL_TOKENS, Final, Trained
from thinwire.runs.verdicts import stored_verdict
from thinwire.storage.files import add_sealed, is_sealed, record_json
from thinwire.training.evaluate import active_shares, densities, heldout_loss

EdgeKind = Literal["induced", "minimal"]


@dataclass(frozen=True)
class Evaluation:
    """What `thinwire eval` prints."""

    run: str
    fingerprint: str
    heldout_loss: float
    """Nats per token."""
    heldout_tokens: int
    heldout_in_training: float | None
    """Share of held-out windows that stand in the training text; None where nobody counted."""
    parameters: int
    nonzero: int
    sparse_parameters: int
    """Of the tensors that training keeps sparse."""
    sparse_nonzero: int
    density: Mapping[str, float]
    """Matrix -> share of nonzero weights."""
    active_share: Mapping[str, float]
    """Site -> share of nonzero activations."""


@dataclass(frozen=True)
class MeasuredCircuit:
    """A stored circuit measured again, with one kind of its edges."""

    task: str
    settings: str
    seed: int
    solved: bool
    verdict: str | None
    edge_kind: EdgeKind
    n_edges: int
    test_loss: float
    stored_test_loss: float
    accuracy: float
    kl: float
    n_test_pairs: int | None
    path: str


@dataclass(frozen=True)
class MeasuredCircuits:
    """What `thinwire eval --circuits` prints."""

    run: str
    fingerprint: str
    circuits: tuple[MeasuredCircuit, ...]


def evaluate(run_path: str | Path, *, device: str = "auto", progress: Progress = silent) -> Evaluation:
    """Held-out loss, density of each matrix and share of nonzero activations at each site.

    The loss of an imported model is kept beside it.
    """
    run = open_run(run_path, device)
    windows = run.windows(FINAL_TOKENS)
    loss = heldout_loss(run.model, windows, progress)
    n_tokens = windows[:, 1:].numel()
    if run.origin and not is_sealed(run.path, FINAL):
        add_sealed(run.path, FINAL, record_json(Final(run.fingerprint, loss, n_tokens)))
    return Evaluation(
        run=str(run_path),
        fingerprint=run.fingerprint,
        heldout_loss=loss,
        heldout_tokens=n_tokens,
        heldout_in_training=run.corpus.heldout_in_training if isinstance(run, Run) else None,
        **count_parameters(run.model),
        density=densities(run.model),
        active_share=active_shares(run.model, windows),
    )


def evaluate_circuits(
    run_path: str | Path,
    paths: Sequence[str | Path] = (),
    *,
    where: Sequence[str] = (),
    device: str = "auto",
    progress: Progress = silent,
) -> MeasuredCircuits:
    """Test scores of stored circuits, from their files and the model alone.

    Without `paths` all circuits of the run are measured; `where` narrows them (see `runs.selection.Where`). One row
    for each kind of edges that a circuit has. Raises `UserError` when there are none or one belongs to another model.
    """
    run = open_run(run_path, device)
    directories = circuits_of(run, paths, where)
    rows = []
    with progress("circuits", total=len(directories), unit="circuit") as advance:
        for path in directories:
            rows += _measured(run, path)
            advance(1)
    return MeasuredCircuits(str(run_path), run.fingerprint, tuple(rows))


def _measured(run: Trained, path: Path) -> Iterator[MeasuredCircuit]:
    stored = open_circuit(run, path)
    circuit = stored.circuit
    kinds: dict[EdgeKind, tuple[Sequence[Edge], Mapping[str, Score]]] = {"induced": (circuit.edges, circuit.scores)}
    if circuit.minimal_edges is not None and circuit.minimal_scores is not None:
        kinds["minimal"] = (circuit.minimal_edges, circuit.minimal_scores)
    for kind, (edges, scores) in kinds.items():
        found = evaluate_circuit(run.model, stored, "test", kind)
        check_stated_loss(path, scores["test"].loss, found.loss)
        yield MeasuredCircuit(
            task=circuit.task,
            settings=settings_name(circuit.hyperparameters),
            seed=circuit.seed,
            solved=standing(circuit).solved,
            verdict=stored_verdict(path),
            edge_kind=kind,
            n_edges=len(edges),
            test_loss=found.loss,
            stored_test_loss=scores["test"].loss,
            accuracy=found.accuracy,
            kl=found.kl,
            n_test_pairs=found.n_pairs,
            path=str(path),
        )
