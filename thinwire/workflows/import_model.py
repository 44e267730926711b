"""Other people's models, into a directory that every verb takes; and circuits that they published.

1. The reader of the format checks config and weights, and gives them in our terms (`thinwire.interop`).
2. A tokenizer is found beside the model, or where the caller says. It has as many tokens as the model.
3. Text that stands in for held-out text is tokenised: means and losses need some. Whether the model was trained on
   it nobody can tell, and the directory says so.
4. All of it is written, or nothing.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from thinwire.data.config import STDLIB, DataConfig
from thinwire.data.shards import prepare
from thinwire.data.tokenizer import Tokenizer
from thinwire.errors import UserError
from thinwire.interop.gpt2 import read_gpt2
from thinwire.interop.gpt2_tokenizer import ENCODER, MERGES, holds_tokenizer, read_gpt2_tokenizer
from thinwire.interop.imported import Imported
from thinwire.interop.openai import read_openai
from thinwire.interop.published_circuits import read_nodes
from thinwire.interop.sparse_pretrain import read_sparse_pretrain
from thinwire.model.checkpoint import load_model
from thinwire.model.structure import count_parameters
from thinwire.progress import Progress, silent
from thinwire.runs.run import open_run
from thinwire.runs.trained import HELDOUT_TOKENS, Origin, create_imported
from thinwire.storage.files import check_unused, new_directory, read_file, sha256_file, write_json
from thinwire.verification.claim import read_claim

Format = Literal["openai", "sparse-pretrain", "gpt2"]
READERS: dict[Format, Callable[[Path], Imported]] = {
    "openai": read_openai,
    "sparse-pretrain": read_sparse_pretrain,
    "gpt2": read_gpt2,
}
TOKENIZER = "tokenizer.json"
RELEASED_TOKENIZER = Path("..", "..", "tinypython")
"""Where the released folders keep it, seen from a model's: models/NAME and tinypython."""
HELDOUT_FRAC = 0.1
"""Of the text's documents, chosen by name: more than a run keeps of the standard library."""


@dataclass(frozen=True)
class ImportedModel:
    """What an import left."""

    path: str
    format: Format
    n_layer: int
    d_model: int
    vocab_size: int
    context: int
    parameters: int
    nonzero: int
    heldout_tokens: int
    bytes_on_disk: int
    remarks: list[str]


@dataclass(frozen=True)
class ImportedCircuit:
    """A published circuit as `verify` reads it."""

    path: str
    task: str
    nodes: int
    target_loss: float


def import_model(
    format: Format,
    directory: Path,
    out: Path,
    *,
    tokenizer: Path | None = None,
    text: str = STDLIB,
    progress: Progress = silent,
) -> ImportedModel:
    """Read the model in `directory` and write it to `out`.

    `tokenizer` is a tokenizer.json or a folder that holds one, or encoder.json and vocab.bpe. `text` is a source as
    `data.source` takes it. Raises `UserError`, and writes nothing, when anything does not fit.
    """
    check_unused(out)
    found = READERS[format](directory)
    tokens, files = _tokenizer(directory, tokenizer)
    if tokens.vocab_size != found.config.vocab_size:
        raise UserError(
            f"{files[0]} has {tokens.vocab_size} tokens and the model {found.config.vocab_size}; "
            f"name the model's own tokenizer with --tokenizer"
        )
    heldout = _text(tokens, text, found.config.context, progress)
    model = load_model(found.config, found.tensors, str(found.files[-1]))
    remarks = [*found.remarks, f"Means and losses are taken on {text}; whether the model learnt from it is not known."]
    checksums = {path.name: sha256_file(path) for path in (*found.files, *files)}
    create_imported(out, model, tokens, Origin(format, str(directory), checksums, remarks), heldout)
    counts = count_parameters(model)
    return ImportedModel(
        path=str(out),
        format=format,
        n_layer=found.config.n_layer,
        d_model=found.config.d_model,
        vocab_size=found.config.vocab_size,
        context=found.config.context,
        parameters=counts["parameters"],
        nonzero=counts["nonzero"],
        heldout_tokens=len(heldout),
        bytes_on_disk=sum(path.stat().st_size for path in out.iterdir()),
        remarks=remarks,
    )


def import_circuit(run: Path, file: Path, task: str, out: Path, target_loss: float | None = None) -> ImportedCircuit:
    """Write a published circuit (`interop.published_circuits`) of the model in `run` as a circuit.json for `verify`.

    Without a `target_loss` it is said to reach the paper's (`circuits.stated`). Raises `UserError`, and writes nothing,
    when the file holds no circuit of this model, or the claim is none that `verify` reads.
    """
    check_unused(out)
    model = open_run(run, "cpu")
    nodes = read_nodes(file, model.model.space)
    said: dict[str, Any] = {"model_fingerprint": model.fingerprint, "task": task, "nodes": nodes}
    if target_loss is not None:
        said["target_loss"] = target_loss
    claim = read_claim(said, model.model, out / "circuit.json")
    with new_directory(out) as directory:
        write_json(directory / "circuit.json", said | {"target_loss": claim.target_loss})
    return ImportedCircuit(str(out), claim.task, claim.n_nodes, claim.target_loss)


def _tokenizer(directory: Path, given: Path | None) -> tuple[Tokenizer, list[Path]]:
    """The tokenizer, and the files that it was read from."""
    for place in [given] if given else [directory, directory / RELEASED_TOKENIZER]:
        if place.is_dir() and holds_tokenizer(place):
            return read_gpt2_tokenizer(place), [place / ENCODER, place / MERGES]
        file = place / TOKENIZER if place.is_dir() else place
        if given or file.is_file():
            return Tokenizer.from_json(read_file(file).decode(), str(file)), [file]
    raise UserError(
        f"{directory} holds no tokenizer ({ENCODER} and {MERGES}, or {TOKENIZER}); name its folder with --tokenizer"
    )


def _text(tokenizer: Tokenizer, source: str, context: int, progress: Progress) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / TOKENIZER
        path.write_text(tokenizer.to_json(), encoding="utf-8")
        config = DataConfig(source=source, tokenizer=str(path), heldout_frac=HELDOUT_FRAC)
        heldout = np.array(prepare(config, tokenizer.vocab_size, progress=progress).heldout[:HELDOUT_TOKENS])
    if len(heldout) <= context:
        raise UserError(f"{source} leaves {len(heldout)} tokens, fewer than one window of {context}; give --text more")
    return heldout
