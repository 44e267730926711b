"""Our models, into the files of other programs; and into a small directory of our own, to be passed on."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from thinwire.data.batches import heldout_windows
from thinwire.errors import UserError
from thinwire.interop.hugging_face_export import Card, write_hugging_face
from thinwire.interop.openai_export import write_openai
from thinwire.model.checkpoint import fingerprint, load_model
from thinwire.model.gpt import GPT
from thinwire.model.structure import count_parameters
from thinwire.progress import Progress, silent
from thinwire.runs.run import Run, open_run
from thinwire.runs.trained import FINAL, FINAL_TOKENS, Final, Origin, Trained, write_trained
from thinwire.storage.files import check_unused, new_directory, read_sealed, record_json, write_atomic
from thinwire.training.evaluate import heldout_loss
from thinwire.version import __version__

Target = Literal["hf", "openai", "thinwire"]
PACKED_TOKENS = 1 << 18
"""Held-out tokens that a packed model takes along, half of what a run keeps."""
TRAINING = {"config.yaml": "training.yaml", "env.json": "env.json"}
"""Files of a run, and their names in a packed model: how it was trained, and on which machine."""


@dataclass(frozen=True)
class Exported:
    """What an export left."""

    path: str
    format: Target
    needs: str
    """What loads it."""
    bytes_on_disk: int


def export_model(format: Target, run: Path, out: Path, progress: Progress = silent) -> Exported:
    """Write the model in `run` to `out`, in the files of another program or as a packed model of our own.

    Raises `UserError`, and writes nothing, when that program cannot compute the model.
    """
    check_unused(out)
    trained = open_run(run, "cpu")
    with new_directory(out) as directory:
        if format == "openai":
            write_openai(directory, trained.model, trained.tokenizer)
            needs = "circuit_sparsity's load_model"
        elif format == "thinwire":
            write_packed(directory, trained, progress)
            needs = "thinwire.load"
        else:
            native = write_hugging_face(directory, trained.model, trained.tokenizer, card_of(trained))
            needs = "transformers" if native else "transformers with trust_remote_code=True"
    return Exported(str(out), format, needs, sum(path.stat().st_size for path in out.iterdir()))


def write_packed(directory: Path, trained: Trained, progress: Progress = silent) -> None:
    """Write a model as small as it can travel: weights by their nonzero entries, rounded to half precision.

    It is another model than the one that was trained, with a fingerprint of its own: circuits are found in it after.
    Raises `UserError` for weights that half precision cannot hold.
    """
    model, heldout = rounded(trained.model, str(trained.path)), trained.heldout[:PACKED_TOKENS]
    context = trained.context
    windows = torch.from_numpy(heldout_windows(heldout, max(FINAL_TOKENS, context), context))
    before, after = (heldout_loss(one, windows, progress) for one in (trained.model, model))
    remarks = [
        f"Trained by thinwire {__version__}." if isinstance(trained, Run) else "Imported, then packed.",
        f"Weights are rounded to half precision: loss on the text that travels {after:.4f}, before it {before:.4f}.",
        *(trained.origin.remarks if trained.origin else ()),
    ]
    origin = Origin("thinwire", trained.name, remarks=remarks)
    write_trained(directory, model, trained.tokenizer, origin, heldout)
    write_atomic(directory / FINAL, record_json(Final(fingerprint(model), after, windows[:, 1:].numel())))
    if isinstance(trained, Run):
        for name, packed in TRAINING.items():
            write_atomic(directory / packed, read_sealed(trained.path, name))
        write_atomic(directory / "corpus.json", record_json(replace(trained.corpus, files=())))


def rounded(model: GPT, where: str) -> GPT:
    """The model whose weights half precision holds. Raises `UserError` for weights beyond it."""
    weights = {name: tensor.half().float() for name, tensor in model.state_dict().items()}
    beyond = [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]
    if beyond:
        raise UserError(
            f"{where}: {beyond[0]} holds weights beyond 65504, which half precision cannot; export another way"
        )
    return load_model(model.config, weights, where).requires_grad_(False).eval()


def card_of(trained: Trained) -> Card:
    """What the model card says of a model: its shape, its density, where it came from."""
    config, counts = trained.model_config, count_parameters(trained.model)
    facts = {
        "layers": f"{config.n_layer}",
        "residual channels": f"{config.d_model:,}",
        "attention heads": f"{config.n_head} of width {config.d_head}",
        "MLP neurons a layer": f"{config.d_mlp:,}",
        "vocabulary": f"{config.vocab_size:,} tokens",
        "context": f"{config.context} tokens",
        "parameters": f"{counts['parameters']:,}, of which {counts['nonzero']:,} are not zero",
        "density of the projected matrices": f"{trained.density:.4%}",
        "fingerprint": f"`{trained.fingerprint}`",
    }
    remarks = [f"Written by thinwire {__version__}."]
    if trained.origin is not None:
        remarks += [f"Imported from {trained.origin.format} files.", *trained.origin.remarks]
    words = "A transformer whose weights are mostly zero, trained so that its circuits can be read."
    dense = "A transformer without sparse weights."
    return Card(trained.name, words if trained.density < 0.5 else dense, facts, remarks)
