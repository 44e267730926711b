"""A circuit on disk: everything that is needed to evaluate it again, given the model.

    circuits/<task>/<settings hash>/<seed>/  circuit.json  means.safetensors  pairs.safetensors  manifest.json

The token ids of the pairs travel with the circuit, so that it gives the same test loss after a task's
templates have changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from thinwire.circuits.ablation import Means
from thinwire.circuits.agreement import check_belongs
from thinwire.circuits.graph import Circuit, Score
from thinwire.circuits.isolated import isolate_circuit
from thinwire.circuits.prompts import Prompts
from thinwire.circuits.score import last_logits, score
from thinwire.errors import CorruptFile
from thinwire.model.gpt import GPT
from thinwire.storage.files import new_directory, read_sealed, to_json, write_atomic
from thinwire.storage.records import parse_json
from thinwire.storage.tensors import read_tensors, write_tensors
from thinwire.tasks.task import SPLITS, Split
from thinwire.tasks.tokens import TaskTokens, from_arrays, to_arrays


@dataclass(frozen=True)
class StoredCircuit:
    circuit: Circuit
    means: dict[str, Tensor]
    pairs: dict[Split, TaskTokens]


def save_circuit(path: Path, circuit: Circuit, means: Means, pairs: dict[Split, TaskTokens]) -> Circuit:
    """Write a circuit's directory, whole or not at all; returns the circuit that knows it."""
    arrays = {
        f"{split}.{name}": torch.from_numpy(np.array(array))  # a copy: bytes of one letter are one object in Python
        for split, tokens in pairs.items()
        for name, array in to_arrays(tokens).items()
    }
    with new_directory(path) as directory:
        write_atomic(directory / "circuit.json", to_json(circuit.to_dict()))
        write_tensors(directory / "means.safetensors", dict(means))
        write_tensors(directory / "pairs.safetensors", arrays)
    return replace(circuit, directory=path)


def load_circuit(path: str | Path) -> StoredCircuit:
    """Read a circuit's directory. Raises `MissingFile` or `CorruptFile`."""
    path = Path(path)
    where = path / "circuit.json"
    found = Circuit.from_dict(parse_json(read_sealed(path, "circuit.json"), where), where)
    circuit = replace(found, directory=path)
    pairs = split_pairs(read_tensors(path, "pairs.safetensors"), path / "pairs.safetensors")
    if missing := [split for split in SPLITS if split not in pairs]:
        raise CorruptFile(f"{path / 'pairs.safetensors'} has no {missing[0]} pairs; prune again")
    check_answers(circuit, pairs, path / "pairs.safetensors")
    return StoredCircuit(circuit, read_tensors(path, "means.safetensors"), pairs)


def split_pairs(stored: Mapping[str, Tensor], where: Path | str) -> dict[Split, TaskTokens]:
    """The splits that the content of a pairs.safetensors holds. Raises `CorruptFile` naming `where`."""
    if strangers := sorted(name for name in stored if name.partition(".")[0] not in SPLITS):
        raise CorruptFile(f"{where} holds {strangers[0]}, which is of no split; write it again")
    pairs: dict[Split, TaskTokens] = {}
    for split in SPLITS:
        arrays = {n.removeprefix(f"{split}."): t.numpy() for n, t in stored.items() if n.startswith(f"{split}.")}
        if arrays:
            pairs[split] = from_arrays(arrays, f"{where}, {split}")
    if len({(tokens.answer, tokens.other, tokens.answer_texts) for tokens in pairs.values()}) > 1:
        raise CorruptFile(f"{where}: its splits have different answers; write it again")
    return pairs


def check_answers(circuit: Circuit, pairs: Mapping[Split, TaskTokens], where: Path | str) -> None:
    """Raises `CorruptFile` naming `where` when the pairs have other answers than the circuit."""
    for split, tokens in pairs.items():
        if ((tokens.answer, tokens.other), tokens.answer_texts) != (circuit.answer_tokens, circuit.answer_texts):
            raise CorruptFile(f"{where}: the answers of the {split} pairs are not those of circuit.json; prune again")


def evaluate_circuit(
    model: GPT, stored: StoredCircuit, split: Split = "test", edges: Literal["induced", "minimal"] = "induced"
) -> Score:
    """Score of a stored circuit from its own files and the model alone, with all induced or the minimal edges only.

    Raises `UserError` when the circuit belongs to another model, or has no minimal edges and these are asked for.
    """
    check_belongs(stored.circuit, model)
    prompts = Prompts.of(stored.pairs[split], model.device)
    alone = isolate_circuit(model, stored.circuit, stored.means, prompts, edges)
    return score(alone.logits(), last_logits(model, prompts), prompts)
