"""A trained model on disk, whoever trained it: what pruning, verification and pages need, and nothing of its training.

A directory that another program's model was imported into holds

    config.yaml         `model:` alone: the shape
    origin.json         format, source and checksums of the files that it was made from
    model.safetensors   weights, those that are mostly zeros by their entries
    tokenizer.json
    heldout.bin         text that the model was not trained on, uint16 tokens; may be absent
    manifest.json       checksums of all these

The directory of a training (`thinwire.runs.run`) holds more, and has no origin.json. What is found out about a model
lies beside it in either: final.json, means/, search/, circuits/, baselines/.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor

from thinwire.circuits.agreement import check_fingerprint, check_means, check_nodes, check_tokenizer
from thinwire.circuits.artefact import load_circuit
from thinwire.circuits.graph import Circuit
from thinwire.circuits.isolated import EdgeKind
from thinwire.data.batches import heldout_windows
from thinwire.data.tokenizer import Tokenizer
from thinwire.errors import CorruptFile, MissingFile, UserError
from thinwire.inference.alone import circuit_alone
from thinwire.inference.decoder import Decoder
from thinwire.inference.generation import Generated, Generation, generate_each
from thinwire.inference.sampling import Sampling
from thinwire.inference.weights import Dense, Weights, check_weights
from thinwire.model.cache import Cache, cache
from thinwire.model.checkpoint import fingerprint, fingerprint_of, load_model
from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT
from thinwire.model.hooks import Edges, Hook, identity
from thinwire.model.names import Names
from thinwire.model.nodes import node_space
from thinwire.model.structure import count_parameters
from thinwire.progress import Progress, silent
from thinwire.sparsity.costs import CostRow, CostTable, from_rows
from thinwire.storage.files import (
    MANIFEST,
    is_sealed,
    new_directory,
    read_sealed,
    read_sealed_record,
    record_json,
    write_atomic,
)
from thinwire.storage.records import Loss, Positive, Sha256, Text, convert_list, parse_json
from thinwire.storage.tensors import read_nonzeros, read_tensors, write_tensors
from thinwire.training.config_file import model_from_yaml, model_to_yaml
from thinwire.training.evaluate import heldout_loss

HELDOUT_TOKENS = 1 << 19
"""Held-out tokens that travel with a model (1 MiB): means, losses and statistics need no corpus."""
FINAL_TOKENS = 1 << 17
"""Held-out tokens behind the loss that is reported."""
STATED_WITHIN = 0.01
"""Nats by which a loss may differ on another machine from the one that is stated."""
ORIGIN = "origin.json"
FINAL = "final.json"
COSTS = "costs.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Origin:
    """Where an imported model came from."""

    format: Text
    """The name by which `thinwire import` knows it."""
    source: Text
    """The directory or name that it was read from."""
    files: dict[str, Sha256] = field(default_factory=dict)
    """Name -> sha256 of every file that was read."""
    remarks: list[Text] = field(default_factory=list)
    """What a reader of numbers should know, a sentence each."""


@dataclass(frozen=True)
class Final:
    """What was measured of a model when its training or import ended: final.json."""

    fingerprint: Sha256
    """Of the model that was measured."""
    heldout_loss: Loss
    """Nats per token."""
    heldout_tokens: Positive
    """Tokens behind it."""


@dataclass(frozen=True)
class Trained:
    """A model that can be asked, its tokenizer and its held-out text. Files are read, and checked, when needed."""

    path: Path
    device: torch.device

    @property
    def name(self) -> str:
        """What pages call the model."""
        return self.path.resolve().name

    @property
    def home(self) -> Path:
        """Where circuits and what else is found out about this model are kept."""
        return self.path

    @cached_property
    def origin(self) -> Origin | None:
        """Where the model was imported from; None when this package trained it."""
        if not is_sealed(self.path, ORIGIN):
            return None
        return read_sealed_record(Origin, self.path, ORIGIN)

    @cached_property
    def model_config(self) -> ModelConfig:
        return model_from_yaml(read_sealed(self.path, "config.yaml"), self.path / "config.yaml")

    @property
    def context(self) -> int:
        """Longest sequence that the model reads, in tokens."""
        return self.model_config.context

    @property
    def threads(self) -> int:
        """CPU threads that the model was made with; 0 when nobody says."""
        return 0

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_json(read_sealed(self.path, "tokenizer.json").decode())

    @cached_property
    def costs(self) -> CostTable:
        """Costs of products that a fast forward pass chooses by; where there are none it takes the dense ones."""
        if not is_sealed(self.path, COSTS):
            return {}
        where = self.path / COSTS
        return from_rows(convert_list(CostRow, parse_json(read_sealed(self.path, COSTS), where), where))

    @cached_property
    def heldout(self) -> np.ndarray:
        """Held-out tokens, uint16, shape (n,). Raises `MissingFile` when the model came without text."""
        if self.origin and not is_sealed(self.path, "heldout.bin"):
            raise MissingFile(
                f"{self.path} came without held-out text, which means and losses are measured on; import it again "
                f"with text"
            )
        return np.frombuffer(read_sealed(self.path, "heldout.bin"), "<u2")

    @cached_property
    def model(self) -> GPT:
        """The model, frozen, in evaluation mode, on `device`."""
        where = self._weights()
        model = load_model(self.model_config, read_tensors(where.parent, where.name), str(where))
        return model.requires_grad_(False).eval().to(self.device)

    @cached_property
    def decoder(self) -> Decoder:
        """The model by its nonzeros, for reading token by token on CPU. It is never held dense."""
        return Decoder(self.model_config, self._nonzeros())

    def circuit_decoder(self, circuit: Circuit | str | Path, edges: EdgeKind = "induced") -> Decoder:
        """The same of a stored circuit alone: what `thinwire.prune` returned, or its directory.

        Raises `UserError` when it was found in another model, is not stored or has no edges of that kind; `MissingFile`
        or `CorruptFile` when a file of it is missing, is damaged or says what the model does not have.
        """
        path = circuit.directory if isinstance(circuit, Circuit) else Path(circuit)
        if path is None:
            raise UserError("the circuit is not stored; store it with thinwire.prune first")
        stored, weights, space = load_circuit(path), self._nonzeros(), node_space(self.model_config)
        check_fingerprint(stored.circuit, fingerprint_of(Dense(weights)))
        check_tokenizer(stored.circuit.task, stored.circuit.tokenizer_sha256, self.tokenizer.sha256)
        check_nodes(stored.circuit.nodes, space, path / "circuit.json")
        check_means(stored.means, space, path / "means.safetensors")
        return Decoder(self.model_config, weights, circuit_alone(space, stored.circuit, stored.means, edges))

    @overload
    def generate(
        self,
        prompt: str,
        *,
        max_tokens: int = ...,
        temperature: float = ...,
        top_p: float = ...,
        seed: int = ...,
        circuit: Circuit | str | Path | None = ...,
        edges: EdgeKind = ...,
    ) -> Generation: ...

    @overload
    def generate(
        self,
        prompt: list[str],
        *,
        max_tokens: int = ...,
        temperature: float = ...,
        top_p: float = ...,
        seed: int = ...,
        circuit: Circuit | str | Path | None = ...,
        edges: EdgeKind = ...,
    ) -> list[Generated]: ...

    def generate(
        self,
        prompt: str | list[str],
        *,
        max_tokens: int = 64,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
        circuit: Circuit | str | Path | None = None,
        edges: EdgeKind = "induced",
    ) -> Generation | list[Generated]:
        """How a prompt goes on: pieces of text to iterate over as they are written; their `result()` is all of it. Of
        several prompts the results, the same as each has alone.

        Nothing is put in front of a prompt. Settings are those of `inference.sampling.Sampling`; with `circuit` every
        token is decided by that circuit alone, with its induced or minimal edges. A text ends where the model's context
        does. It is computed on CPU, by nonzeros. Raises `UserError` for a prompt that is empty or longer than the
        context, for settings out of range and as `circuit_decoder` does.
        """
        sampling = Sampling(max_tokens, temperature, top_p, seed)
        decoder = self.decoder if circuit is None else self.circuit_decoder(circuit, edges)
        if isinstance(prompt, str):
            return Generation(decoder, self.tokenizer, prompt, sampling)
        return generate_each(decoder, self.tokenizer, prompt, sampling)

    def _nonzeros(self) -> Weights:
        where = self._weights()
        weights = read_nonzeros(where.parent, where.name)
        check_weights(self.model_config, weights, str(where))
        return weights

    def _weights(self) -> Path:
        """The file of the weights."""
        return self.path / WEIGHTS

    def cache(
        self,
        prompts: str | Sequence[str] | Sequence[Sequence[int]] | Tensor,
        names: Names | None = None,
        *,
        hook: Hook = identity,
        edges: Edges | None = None,
        grad: bool = False,
    ) -> Cache:
        """Activations on prompts (texts, or token ids) by TransformerLens' names; see `model.cache.cache`."""
        if isinstance(prompts, Tensor):
            rows = torch.atleast_2d(prompts).tolist()
        else:
            given = [prompts] if isinstance(prompts, str) else list(prompts)
            if given and isinstance(given[0], int):
                raise UserError("a prompt of token ids stands in a list of prompts; write [ids]")
            rows = [self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt for prompt in given]
        return cache(self.model, rows, names, hook, edges, grad)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.model)

    @cached_property
    def density(self) -> float:
        """Share of nonzero entries in the tensors that sparse training projects."""
        counts = count_parameters(self.model)
        return counts["sparse_nonzero"] / counts["sparse_parameters"]

    def heldout_loss(self, progress: Progress = silent) -> float:
        """Held-out loss, nats per token: as measured when training or import ended, else now."""
        final = self._final()
        return final.heldout_loss if final else self._measured_loss(progress)

    def checked_heldout_loss(self, progress: Progress = silent) -> float:
        """The same, measured now too. Raises `CorruptFile` where final.json states another loss than the model has."""
        found, final = self._measured_loss(progress), self._final()
        if final and abs(found - final.heldout_loss) > STATED_WITHIN:
            raise CorruptFile(
                f"{self.path / FINAL} states a held-out loss of {final.heldout_loss:.4g} and the model has "
                f"{found:.4g}: one of its files was changed; restore it or train again"
            )
        return final.heldout_loss if final else found

    def _final(self) -> Final | None:
        """What was measured of this very model when its training or import ended."""
        if not is_sealed(self.path, FINAL):
            return None
        final = read_sealed_record(Final, self.path, FINAL)
        return final if final.fingerprint == self.fingerprint else None

    def _measured_loss(self, progress: Progress) -> float:
        return heldout_loss(self.model, self.windows(FINAL_TOKENS), progress)

    def means_directory(self, n_tokens: int) -> Path:
        """Where the means over so many held-out tokens are kept, once they were measured."""
        return self.home / "means" / f"{self.fingerprint[:12]}-{n_tokens}"

    def windows(self, n_tokens: int) -> Tensor:
        """Held-out windows (N, T+1) that hold up to `n_tokens` tokens, at least one, on `device`."""
        context = self.context
        return torch.from_numpy(heldout_windows(self.heldout, max(n_tokens, context), context)).to(self.device)

    def circuit_directories(self) -> Iterator[Path]:
        """All sealed circuits of the model, sorted by task, settings and seed."""
        yield from sorted(p.parent for p in self.home.glob(f"circuits/*/*/*/{MANIFEST}"))

    def circuits_of(self, task: str) -> list[Path]:
        """The same of one task."""
        return sorted(p.parent for p in (self.home / "circuits" / task).glob(f"*/*/{MANIFEST}"))


def names_of(models: Sequence[Trained]) -> list[str]:
    """What a page calls each of several models: its name, behind as many folders as tell it from the others."""
    folders = [model.path.resolve().parent.parts for model in models]
    for depth in range(1 + max(map(len, folders), default=0)):
        above = [parts[len(parts) - depth :] for parts in folders]
        names = ["/".join((*parts, model.name)) for parts, model in zip(above, models, strict=True)]
        if len(set(names)) == len(names):
            return names
    return [str(model.home.resolve()) for model in models]


def create_imported(
    path: Path, model: GPT, tokenizer: Tokenizer, origin: Origin, heldout: np.ndarray | None = None
) -> None:
    """Make the directory of a model from elsewhere, whole or not at all. Raises `UserError` when `path` is not empty.

    `heldout` are tokens of text that the model was not trained on, those in front being taken.
    """
    with new_directory(path) as directory:
        write_trained(directory, model, tokenizer, origin, heldout)


def write_trained(
    directory: Path, model: GPT, tokenizer: Tokenizer, origin: Origin, heldout: np.ndarray | None = None
) -> None:
    """Write the files of `create_imported` into a directory that is being made."""
    write_atomic(directory / "config.yaml", model_to_yaml(model.config))
    write_atomic(directory / ORIGIN, record_json(origin))
    write_atomic(directory / "tokenizer.json", tokenizer.to_json())
    write_tensors(directory / WEIGHTS, model.state_dict(), sparse=True)
    if heldout is not None:
        write_atomic(directory / "heldout.bin", np.asarray(heldout[:HELDOUT_TOKENS], "<u2").tobytes())
