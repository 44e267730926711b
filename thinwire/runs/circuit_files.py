"""The files of a circuit, ours or another's, as verification needs them.

circuit.json         model_fingerprint, task, nodes; more where there is more (`circuits.stated`)
means.safetensors    site -> mean of every channel; without it, measured on the run's held-out text
pairs.safetensors    token ids of the pairs, at least the test split; without it, the built-in task of that name
manifest.json        checksums; where it exists, files are checked against it and all that it lists must be there
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thinwire.circuits.ablation import node_means
from thinwire.circuits.agreement import check_belongs, check_means, check_pairs, check_tokenizer
from thinwire.circuits.artefact import check_answers, split_pairs
from thinwire.circuits.graph import Ablation, Circuit
from thinwire.circuits.stand_ins import stand_ins
from thinwire.circuits.stated import StatedCircuit, read_stated
from thinwire.errors import CorruptFile, MissingFile, UserError
from thinwire.model.gpt import GPT
from thinwire.pruning.config import PruneConfig
from thinwire.runs.trained import Trained
from thinwire.runs.verdicts import circuit_sha256
from thinwire.storage.files import MAX_RECORD, is_sealed, read_either
from thinwire.storage.records import parse_json
from thinwire.storage.tensors import parse_tensors, read_tensors
from thinwire.tasks.registry import all_tasks, get_task
from thinwire.tasks.task import SPLITS, Split
from thinwire.tasks.tokens import TaskTokens, tokenize
from thinwire.verification.claim import Claim, claim_of


@dataclass(frozen=True)
class CircuitFiles:
    """What a circuit's directory holds, with what was missing filled in from the run."""

    claim: Claim
    means: dict[str, Tensor]
    pairs: dict[Split, TaskTokens]
    hyperparameters: dict[str, Any]
    """Settings of the pruning; empty when the file does not state them."""
    stated_loss: float | None = None
    """Test loss of the judged edges that one of our own circuits states, nats."""
    sha256: str = ""
    """Of the files (`verdicts.circuit_sha256`)."""


def read_circuit_files(path: Path, run: Trained) -> CircuitFiles:
    """Read a circuit's directory and hold it to the run's model and tokenizer.

    Raises `MissingFile` without a circuit.json, `CorruptFile` when a file is damaged, is listed and gone, or says what
    the model does not have; `UserError` for another model's circuit and for a task of no known pairs.
    """
    where = path / "circuit.json"
    stated = read_stated(parse_json(_read(path, "circuit.json"), where), where)
    check_belongs(stated, run.model)
    if stated.tokenizer_sha256 is not None:
        check_tokenizer(stated.task, stated.tokenizer_sha256, run.tokenizer.sha256)
    claim = claim_of(stated, run.model, where)
    pairs = _pairs(path, run, claim.task)
    if isinstance(stated, Circuit):
        check_answers(stated, pairs, path / "pairs.safetensors")
    means = _means(path, run, stated.ablation, pairs)
    if isinstance(stated, Circuit) and stated.ablation == "mean":
        _check_measured(path, means, run, stated.hyperparameters.get("means_tokens"))
    return CircuitFiles(claim, means, pairs, stated.hyperparameters, _stated_loss(stated), circuit_sha256(path))


def _stated_loss(stated: Circuit | StatedCircuit) -> float | None:
    if not isinstance(stated, Circuit):
        return None
    return (stated.minimal_scores or stated.scores)["test"].loss


def read_pairs(path: Path, model: GPT) -> dict[Split, TaskTokens]:
    """The splits that a circuit's pairs.safetensors holds. Raises `CorruptFile` when the model cannot read them."""
    where = path / "pairs.safetensors"
    pairs = split_pairs(parse_tensors(_read(path, "pairs.safetensors"), where), where)
    if "test" not in pairs:
        raise CorruptFile(f"{where} has no test pairs; docs/verification.md lists what it needs")
    check_pairs(pairs, model, where)
    return pairs


def _pairs(path: Path, run: Trained, task: str) -> dict[Split, TaskTokens]:
    if _is_there(path, "pairs.safetensors"):
        return read_pairs(path, run.model)
    if task not in all_tasks():
        raise UserError(
            f"{path} has no pairs.safetensors and its task {task!r} is no built-in one; put the pairs' token ids "
            f"beside circuit.json as docs/verification.md says"
        )
    found = get_task(task)
    return {split: tokenize(found, run.tokenizer, split, run.context) for split in SPLITS}


def _means(path: Path, run: Trained, ablation: Ablation, pairs: dict[Split, TaskTokens]) -> dict[str, Tensor]:
    if not _is_there(path, "means.safetensors"):
        windows = run.windows(PruneConfig().means_tokens)
        train = pairs.get("train", pairs["test"])
        return dict(stand_ins(ablation, run.model, lambda model: node_means(model, windows), train))
    where = path / "means.safetensors"
    means = parse_tensors(_read(path, "means.safetensors"), where)
    check_means(means, run.model.space, where)
    return {site: mean.to(run.device) for site, mean in means.items()}


def _check_measured(path: Path, means: dict[str, Tensor], run: Trained, n_tokens: Any) -> None:
    """Hold a circuit's means to those that the run has measured, where it has: a key's mean shifts all scores alike, so
    that no loss would tell."""
    kept = run.means_directory(n_tokens) if isinstance(n_tokens, int) else None
    if kept is None or not is_sealed(kept, "means.safetensors"):
        return
    for site, measured in read_tensors(kept, "means.safetensors").items():
        if not torch.allclose(means[site], measured.to(run.device), rtol=1e-3, atol=1e-4):
            raise CorruptFile(f"{path / 'means.safetensors'} has other means at {site} than {kept}; prune again")


def _is_there(path: Path, name: str) -> bool:
    """Whether the directory has a file or, by its manifest, should have it: then its absence is an error."""
    return os.path.lexists(path / name) or is_sealed(path, name)


def _read(path: Path, name: str) -> bytes:
    """Checked where the directory is sealed. Raises `MissingFile` when there is no such file."""
    if not is_sealed(path) and not os.path.lexists(path / name):
        raise MissingFile(f"{path} holds no circuit ({name} is missing); make one with: thinwire prune RUN TASK")
    return read_either(path, name, None if name.endswith(".safetensors") else MAX_RECORD)
