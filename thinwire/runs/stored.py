"""A run's stored circuits: which one is meant, and whether it is what this run's model has."""

from dataclasses import replace
from pathlib import Path

from thinwire.circuits.agreement import check_belongs, check_circuit, check_means, check_pairs, check_tokenizer
from thinwire.circuits.artefact import StoredCircuit, evaluate_circuit, load_circuit
from thinwire.circuits.graph import Circuit
from thinwire.errors import CorruptFile, UserError
from thinwire.pruning.config import PruneConfig
from thinwire.runs.run import load
from thinwire.runs.trained import Trained
from thinwire.storage.files import is_sealed


def open_circuit(run: Trained, path: Path) -> StoredCircuit:
    """A stored circuit, held to the run's model and tokenizer; its means lie on the run's device.

    Raises `UserError` when it was found in another model, `MissingFile` or `CorruptFile` when a file is missing, is
    damaged or says what the model does not have.
    """
    stored = load_circuit(path)
    circuit, where = stored.circuit, path / "circuit.json"
    check_belongs(circuit, run.model)
    check_tokenizer(circuit.task, circuit.tokenizer_sha256, run.tokenizer.sha256)
    check_circuit(circuit, run.model, where)
    if circuit.answer_texts != tuple(run.tokenizer.token_text(token) for token in circuit.answer_tokens):
        raise CorruptFile(f"{where}: answer_texts are not those of answer_tokens; restore it or prune again")
    try:
        PruneConfig.of(circuit.hyperparameters, circuit.seed)
    except (UserError, TypeError) as error:
        raise CorruptFile(f"{where}: hyperparameters: {error}; restore it or prune again") from None
    check_means(stored.means, run.model.space, path / "means.safetensors")
    check_pairs(stored.pairs, run.model, path / "pairs.safetensors")
    return replace(stored, means={site: mean.to(run.device) for site, mean in stored.means.items()})


def open_measured(run: Trained, path: Path) -> StoredCircuit:
    """`open_circuit`, which must give the test loss that it states. Raises `CorruptFile` when it does not."""
    stored = open_circuit(run, path)
    check_stated_loss(path, stored.circuit.scores["test"].loss, evaluate_circuit(run.model, stored).loss)
    return stored


def check_stated_loss(path: Path, stated: float, found: float) -> None:
    """Raises `CorruptFile` when a circuit's files give another test loss than its circuit.json states, by far more than
    rounding on another machine explains: changed means are finite numbers like any other."""
    if abs(found - stated) > 0.01 + 0.02 * stated:
        raise CorruptFile(
            f"{path} does not give the test loss that its circuit.json states ({found:.4g} against {stated:.4g}): "
            f"one of its files was changed; restore it or prune again"
        )


def directory_of(run: Trained, circuit: Circuit | str | Path) -> Path:
    """Where a circuit is kept: a directory is given back; a circuit of `run` knows its own.

    Raises `UserError` for a circuit that `run` does not hold, and for what is no circuit.
    """
    if isinstance(circuit, str | Path):
        return Path(circuit)
    if not isinstance(circuit, Circuit):
        raise UserError(
            f"circuit is of type {type(circuit).__name__}; give what thinwire.prune returned, or its directory"
        )
    if circuit.directory:  # of a copy of this run, perhaps
        own = circuit.directory.resolve().is_relative_to(run.home.resolve())
        here = circuit.directory if own else run.home.joinpath("circuits", *circuit.directory.parts[-3:])
        if is_sealed(here, "circuit.json") and _is_same(load_circuit(here).circuit, circuit):
            return here
    raise UserError(f"{run.home} does not hold this circuit of {circuit.task}; store it with thinwire.prune first")


def _is_same(stored: Circuit, circuit: Circuit) -> bool:
    """Whether a circuit in hand is the stored one and not one that was made from it."""
    return all(
        getattr(stored, name) == getattr(circuit, name)
        for name in ("task", "seed", "model_fingerprint", "nodes", "edges", "minimal_edges")
    )


def run_of(circuit: Path, device: str = "auto") -> Trained:
    """The model in whose directory a circuit lies."""
    return load(circuit.resolve().parents[3], device)
