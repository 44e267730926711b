"""The files of a circuit, ours or another's, as verification needs them.

circuit.json         model_fingerprint, task, nodes; more where there is more (`verification.claim`)
means.safetensors    site -> mean of every channel; without it, measured on the run's held-out text
pairs.safetensors    token ids of the pairs, at least the test split; without it, the built-in task of that name
manifest.json        checksums; files are checked against it where it exists
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from thinwire.circuits.ablation import node_means
from thinwire.circuits.artefact import split_pairs
from thinwire.circuits.graph import SCHEMA_VERSION, Ablation
from thinwire.circuits.stand_ins import stand_ins
from thinwire.errors import CorruptFile, MissingFile, UserError
from thinwire.pruning.config import PruneConfig
from thinwire.runs.trained import Trained
from thinwire.storage.files import MANIFEST, read_sealed
from thinwire.tasks.registry import all_tasks, get_task
from thinwire.tasks.task import SPLITS, Split
from thinwire.tasks.tokens import TaskTokens, tokenize
from thinwire.verification.claim import Claim, read_claim


@dataclass(frozen=True)
class CircuitFiles:
    """What a circuit's directory holds, with what was missing filled in from the run."""

    claim: Claim
    means: dict[str, Tensor]
    pairs: dict[Split, TaskTokens]
    hyperparameters: dict[str, Any]
    """Settings of the pruning; empty when the file does not state them."""


def read_circuit_files(path: Path, run: Trained) -> CircuitFiles:
    """Read a circuit's directory.

    Raises `MissingFile` without a circuit.json, `CorruptFile` when a file is damaged or does not fit the run's model,
    `UserError` for nodes that the model lacks and for a task of no known pairs.
    """
    content = _read(path, "circuit.json")
    try:
        values = json.loads(content)
    except ValueError as error:
        raise CorruptFile(f"{path / 'circuit.json'} is not valid JSON ({error}); write it again") from None
    if values.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        version = values["schema_version"]
        raise CorruptFile(f"{path / 'circuit.json'} has schema_version {version}, this thinwire reads {SCHEMA_VERSION}")
    claim = read_claim(values, run.model)
    pairs = _pairs(path, run, claim.task)
    means = _means(path, run, values.get("ablation", "mean"), pairs)
    return CircuitFiles(claim, means, pairs, values.get("hyperparameters", {}))


def read_pairs(path: Path) -> dict[Split, TaskTokens]:
    """The splits that a circuit's pairs.safetensors holds."""
    pairs = split_pairs(_read_tensors(path, "pairs.safetensors"))
    if "test" not in pairs:
        raise CorruptFile(f"{path / 'pairs.safetensors'} has no test pairs; docs/verification.md lists what it needs")
    return pairs


def _pairs(path: Path, run: Trained, task: str) -> dict[Split, TaskTokens]:
    if (path / "pairs.safetensors").exists():
        return read_pairs(path)
    if task not in all_tasks():
        raise UserError(
            f"{path} has no pairs.safetensors and its task {task!r} is no built-in one; put the pairs' token ids "
            f"beside circuit.json as docs/verification.md says"
        )
    found = get_task(task)
    return {split: tokenize(found, run.tokenizer, split, run.context) for split in SPLITS}


def _means(path: Path, run: Trained, ablation: Ablation, pairs: dict[Split, TaskTokens]) -> dict[str, Tensor]:
    if not (path / "means.safetensors").exists():
        windows = run.windows(PruneConfig().means_tokens)
        train = pairs.get("train", pairs["test"])
        return dict(stand_ins(ablation, run.model, lambda model: node_means(model, windows), train))
    means = {site: mean.to(run.device) for site, mean in _read_tensors(path, "means.safetensors").items()}
    if {site: len(mean) for site, mean in means.items()} != run.model.space.widths:
        raise CorruptFile(f"{path / 'means.safetensors'} does not have this model's sites and widths; measure it again")
    return means


def _read_tensors(path: Path, name: str) -> dict[str, Tensor]:
    try:
        return load(_read(path, name))
    except SafetensorError as error:
        raise CorruptFile(f"{path / name} is no safetensors file ({error}); write it again") from None


def _read(path: Path, name: str) -> bytes:
    """Checked where the directory is sealed. Raises `MissingFile` when there is no such file."""
    if (path / MANIFEST).exists():
        return read_sealed(path, name)
    if not (path / name).exists():
        raise MissingFile(f"{path} holds no circuit ({name} is missing); make one with: thinwire prune RUN TASK")
    return (path / name).read_bytes()
